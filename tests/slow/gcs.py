"""A fake Google Cloud Storage: one bucket, for TensorFlow's gs file system and for Beam.

Both take a proxy from `https_proxy` and whom to trust from `CURL_CA_BUNDLE`, so the proxy can be Google's hosts itself.
Of the JSON API it knows what the two ask for, answers with all fields whichever were asked for, and refuses the rest.
"""

import base64
import datetime
import itertools
import json
import re
import ssl
import threading
from email import message_from_bytes
from email.policy import HTTP
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import google_crc32c
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOSTS = ("www.googleapis.com", "storage.googleapis.com", "oauth2.googleapis.com")


class Object(NamedTuple):
    """A file's content, and when it was written: an integer that grows and UTC."""

    content: bytes
    generation: int
    updated: str


class Reply(NamedTuple):
    """An HTTP response: status, content and headers."""

    code: int
    content: bytes = b""
    headers: dict[str, str] = {}


class Bucket:
    """gs://bucket, in memory.

    Attributes:
        objects: by name, the one written last comes last. There are no folders; a name that ends in a slash is an
            object without content that stands for one.
        refused: requests that the fake doesn't know.
    """

    def __init__(self):
        self.objects: dict[str, Object] = {}
        self.refused: list[str] = []
        self._uploads: dict[str, tuple[str, bytearray]] = {}  # by id: name and what has come so far
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def write(self, name: str, content: bytes) -> None:
        """Makes an object or replaces it."""
        updated = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with self._lock:
            self.objects.pop(name, None)
            self.objects[name] = Object(bytes(content), next(self._numbers), updated)

    def read(self, name: str) -> bytes:
        """The content of an object; KeyError if it isn't there."""
        return self.objects[name].content

    def upload(self, folder: Path, name: str) -> None:
        """Writes a folder's files as objects whose names begin with `name`."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.write(f"{name}/{file.relative_to(folder)}", file.read_bytes())

    def glob(self, pattern: str) -> list[str]:
        """Names of the objects and of the folders they would be in; a star ends at a slash."""
        wanted = pattern.split("/")
        with self._lock:
            names = [name.removesuffix("/").split("/") for name in self.objects]
        found = dict.fromkeys(tuple(name[: len(wanted)]) for name in names if len(name) >= len(wanted))
        return ["/".join(parts) for parts in found if all(map(fnmatchcase, parts, wanted))]

    def answer(self, method: str, target: str, headers, body: bytes) -> Reply:
        """The answer to a request of the JSON API."""
        with self._lock:
            return self._answer(method, target, headers, body)

    def _answer(self, method: str, target: str, headers, body: bytes) -> Reply:
        address = urlsplit(target)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        # A slash in a name comes as %2F.
        match method, [unquote(part) for part in address.path.split("/")[1:]]:
            case "GET", ["storage", "v1", "b", "bucket"]:
                return _json({"kind": "storage#bucket", "name": "bucket", "location": "EU"})
            case "GET", ["storage", "v1", "b", "bucket", "storageLayout"]:
                return _json({"kind": "storage#storageLayout", "hierarchicalNamespace": {"enabled": False}})
            case "GET", ["storage", "v1", "b", "bucket", "o"]:
                return self._list(**{key: query[key] for key in query.keys() & _LIST})
            case "GET", ["storage", "v1", "b", "bucket", "o", name] if query.get("alt") != "media":
                return self._metadata(name)
            case "GET", ["download", "storage", "v1", "b", "bucket", "o", name] | ["bucket", name]:
                return self._read(name, headers.get("Range"))
            case "DELETE", ["storage", "v1", "b", "bucket", "o", name]:
                return Reply(204) if self.objects.pop(name, None) else _error(404, name)
            case "POST", ["storage", "v1", "b", "bucket", "o", name, how, "b", "bucket", "o", other]:
                return self._copy(name, other, how)
            case "POST", ["upload", "storage", "v1", "b", "bucket", "o"] if query["uploadType"] in _UPLOADS:
                return self._upload(query, body)
            case "PUT", ["upload", "storage", "v1", "b", "bucket", "o"]:
                return self._go_on(query["upload_id"], headers.get("Content-Range"), body)
            case "POST", ["batch", "storage", "v1"]:
                return self._batch(headers["Content-Type"], body)
            case "POST", ["oauth2", "v3", "token"] | ["token"]:
                return _json({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})
        self.refused.append(f"{method} {target}")
        return _error(400, "the fake doesn't know this request")

    def _resource(self, name: str) -> dict:
        found = self.objects[name]
        return {
            "kind": "storage#object",
            "bucket": "bucket",
            "name": name,
            "size": str(len(found.content)),
            "crc32c": base64.b64encode(google_crc32c.Checksum(found.content).digest()).decode(),
            "generation": str(found.generation),
            "updated": found.updated,
            "timeCreated": found.updated,
        }

    def _metadata(self, name: str) -> Reply:
        return _json(self._resource(name)) if name in self.objects else _error(404, name)

    def _list(self, prefix="", delimiter="", maxResults="1000", pageToken="") -> Reply:
        """A page of the names that begin with `prefix`, each as far as the next delimiter."""
        kinds = {}
        for name in self.objects:
            if name.startswith(prefix):
                end = name.find(delimiter, len(prefix)) if delimiter else -1
                kinds[name if end < 0 else name[: end + 1]] = "items" if end < 0 else "prefixes"
        left = sorted(name for name in kinds if name > pageToken)
        page = left[: int(maxResults)]
        answer = {
            "kind": "storage#objects",
            "items": [self._resource(name) for name in page if kinds[name] == "items"],
            "prefixes": [name for name in page if kinds[name] == "prefixes"],
        }
        if len(page) < len(left):
            answer["nextPageToken"] = page[-1]
        return _json(answer)

    def _read(self, name: str, wanted: str | None) -> Reply:
        if name not in self.objects:
            return _error(404, name)
        content = self.objects[name].content
        if wanted is None:
            return Reply(200, content)
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted).groups()
        part = content[int(first) : int(last) + 1 if last else None]
        if not part:
            return Reply(416, headers={"Content-Range": f"bytes */{len(content)}"})
        end = int(first) + len(part) - 1
        return Reply(206, part, {"Content-Range": f"bytes {first}-{end}/{len(content)}"})

    def _copy(self, name: str, other: str, how: str) -> Reply:
        if name not in self.objects:
            return _error(404, name)
        self.write(other, self.objects[name].content)
        if how == "copyTo":
            return self._metadata(other)
        return _json({"kind": "storage#rewriteResponse", "done": True, "resource": self._resource(other)})

    def _upload(self, query: dict[str, str], body: bytes) -> Reply:
        """Takes an object, or the name of one whose content will come."""
        name = query.get("name") or json.loads(body)["name"]
        exists = self.objects[name].generation if name in self.objects else 0
        if query.get("ifGenerationMatch", str(exists)) != str(exists):
            return _error(412, name)
        if query["uploadType"] == "media":
            self.write(name, body)
            return self._metadata(name)
        number = str(next(self._numbers))
        self._uploads[number] = (name, bytearray())
        place = f"https://{HOSTS[0]}/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id={number}"
        return Reply(200, headers={"Location": place})

    def _go_on(self, number: str, place: str | None, body: bytes) -> Reply:
        """Takes the next part of an object, which is there with the last one."""
        name, content = self._uploads[number]
        total = place.split("/")[1] if place else str(len(body))
        content += body
        if total == "*" or len(content) < int(total):
            return Reply(308, headers={"Range": f"bytes=0-{len(content) - 1}"} if content else {})
        self.write(name, content)
        return self._metadata(name)

    def _batch(self, kind: str, body: bytes) -> Reply:
        """Answers the requests of a batch, which have no bodies."""
        message = message_from_bytes(b"Content-Type: %s\r\n\r\n" % kind.encode() + body, policy=HTTP)
        answers = []
        for part in message.iter_parts():
            method, target = part.get_payload(decode=True).decode().split()[:2]
            reply = self._answer(method, target, {}, b"")
            answers.append(
                f"--batch\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {reply.code} -\r\n"
                f"Content-Length: {len(reply.content)}\r\n\r\n{reply.content.decode()}\r\n"
            )
        content = "".join([*answers, "--batch--"]).encode()
        return Reply(200, content, {"Content-Type": "multipart/mixed; boundary=batch"})


_UPLOADS = {"media", "resumable"}
_LIST = {"prefix", "delimiter", "maxResults", "pageToken"}


def _json(answer: dict) -> Reply:
    return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def _error(code: int, message: str) -> Reply:
    return _json({"error": {"code": code, "message": message}})._replace(code=code)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_CONNECT(self):
        """Becomes the host that the client would talk to."""
        if self.path not in {f"{host}:443" for host in HOSTS}:
            self.server.bucket.refused.append(self.path)
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.close_connection = False

    def do_GET(self):
        body = self._body()
        if body is None:  # the client was killed
            self.close_connection = True
            return
        reply = self.server.bucket.answer(self.command, self.path, self.headers, body)
        self.send_response(reply.code)
        for key, value in {**reply.headers, "Content-Length": str(len(reply.content))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(reply.content)

    def handle_expect_100(self) -> bool:
        """Lets the client send at once, which else waits for a second."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _body(self) -> bytes | None:
        """The request's content; nothing if it ends early."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size)
            return body if len(body) == size else None
        body = b""
        while line := self.rfile.readline():
            size = int(line, 16)
            body += self.rfile.read(size)
            if self.rfile.readline() != b"\r\n":
                return None
            if size == 0:
                return body
        return None

    do_POST = do_PUT = do_DELETE = do_GET

    def finish(self):
        super().finish()
        self.connection.close()

    def log_message(self, *arguments):
        pass


class Storage(ThreadingHTTPServer):
    """Serves a bucket as a thread of this process.

    Attributes:
        bucket: what it serves.
        environment: variables with which a process finds it.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path):
        """Starts it.

        Args:
            folder: for the certificate and the credentials.
        """
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bucket = Bucket()
        certificate, key = _certificate(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        # Without credentials Beam looks for some for half a minute.
        credentials = folder / "credentials.json"
        secrets = dict.fromkeys(("client_id", "client_secret", "refresh_token"), "anybody")
        credentials.write_text(json.dumps({"type": "authorized_user", **secrets}))
        self.environment = {
            "https_proxy": f"http://127.0.0.1:{self.server_port}",
            "CURL_CA_BUNDLE": str(certificate),
            "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
            "GOOGLE_CLOUD_PROJECT": "project",
        }
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Files of a certificate for Google's hosts, signed by itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a fake Google Cloud Storage")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files
