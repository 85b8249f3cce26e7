"""Downloads from a server on this machine that behaves as badly as servers do."""

import errno
import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_patching.data import download
from model_patching.data.download import DownloadError, downloaded

ARCHIVE = "waterbirds_tfrecord_224.zip"


def zipped(files, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# Not to be compressed, so that there is something to cut.
FILES = {
    "waterbirds/00.tfrec": os.urandom(300_000),
    "waterbirds/01.tfrec": b"second",
    "__MACOSX/._00.tfrec": b"",
}
CONTENT = zipped(FILES)


class Server:
    """Serves one file and keeps what it was asked.

    Attributes:
        content: of the file.
        tag: its ETag, or None.
        ranges: whether Range is understood.
        cuts: after how many bytes of each coming answer the connection is closed; None for not at all.
        statuses: of the coming answers, before the file is served.
        asked: (path, Range header) of each request.
    """

    def __init__(self):
        self.content = CONTENT
        self.tag = '"one"'
        self.ranges = True
        self.cuts = []
        self.statuses = []
        self.asked = []
        self.changed_range = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/bucket"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        status = self.statuses.pop(0) if self.statuses else None
        if status is not None:
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = 0
        if wanted and self.ranges and request.headers.get("If-Range") in (None, self.tag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            said = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
            request.send_header("Content-Range", self.changed_range or said)
        if self.tag:
            request.send_header("ETag", self.tag)
        request.send_header("Content-Length", str(len(self.content) - start))
        request.end_headers()
        cut = self.cuts.pop(0) if self.cuts else None
        request.wfile.write(self.content[start:] if cut is None else self.content[start : start + cut])
        request.close_connection = True

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "WAITS", (0, 0))
    server = Server()
    yield server
    server.close()


def is_whole(folder):
    # The archive too: with something else before it, it would be unpacked to the same.
    return folder.with_suffix(".zip").read_bytes() == CONTENT and {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    } == {name: content for name, content in FILES.items() if "MACOSX" not in name}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def ranges(server):
    return [wanted for _, wanted in server.asked]


def test_an_archive_is_fetched_checked_and_unpacked_once(server, tmp_path):
    seen = []
    folder = downloaded(
        "waterbirds", tmp_path / "new" / "sets", server.url, lambda done, total: seen.append((done, total))
    )
    assert folder == tmp_path / "new" / "sets" / "waterbirds_tfrecord_224"
    assert is_whole(folder)
    assert names(folder.parent) == ["SHA256SUMS", folder.name, ARCHIVE]
    assert server.asked == [(f"/bucket/{ARCHIVE}", None)]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    sums = (folder.parent / "SHA256SUMS").read_text()
    assert sums == f"{hashlib.sha256(CONTENT).hexdigest()}  {ARCHIVE}\n"

    assert downloaded("waterbirds", folder.parent, server.url) == folder
    assert len(server.asked) == 1


def test_a_connection_that_is_cut_is_continued(server, tmp_path):
    server.cuts = [1000, 200_000]
    seen = []
    folder = downloaded("waterbirds", tmp_path, server.url, lambda done, total: seen.append((done, total)))
    assert is_whole(folder)
    assert ranges(server) == [None, "bytes=1000-", "bytes=201000-"]
    assert seen[0] == (1000, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))
    assert names(tmp_path) == ["SHA256SUMS", folder.name, ARCHIVE]


def test_the_next_command_goes_on_where_one_gave_up(server, tmp_path):
    server.cuts = [1000, 0, 0, 0]
    message = rf"{server.url}/{ARCHIVE}: .*run the same command again to go on from there"
    with pytest.raises(DownloadError, match=message) as caught:
        downloaded("waterbirds", tmp_path, server.url)
    assert "\n" not in str(caught.value)
    assert (
        len(server.asked) == 4
    )  # the first brought something; then as many tries as there are waits, and one
    assert names(tmp_path) == [f"{ARCHIVE}.part", f"{ARCHIVE}.part.json"]

    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    assert ranges(server)[-1] == "bytes=1000-"


def test_a_file_that_has_changed_is_not_glued_to_the_old_one(server, tmp_path):
    other = zipped({"waterbirds/00.tfrec": os.urandom(400_000)})
    server.content, server.tag, server.cuts = other, '"zero"', [5000, 0, 0, 0]
    with pytest.raises(DownloadError):
        downloaded("waterbirds", tmp_path, server.url)
    server.content, server.tag = CONTENT, '"one"'
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    assert ranges(server)[-1] == "bytes=5000-"  # asked for, but with If-Range


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_version_of_the_file_it_is_begun_anew(server, tmp_path, tag):
    server.tag, server.cuts = tag, [5000]
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    assert ranges(server) == [None, None]


def test_a_server_that_knows_no_ranges_sends_all_again(server, tmp_path):
    server.ranges, server.cuts = False, [5000]
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    assert ranges(server) == [None, "bytes=5000-"]


def test_a_server_that_sends_another_range_is_not_believed(server, tmp_path):
    server.cuts, server.changed_range = [5000], "bytes 4000-5000/9999"
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    assert ranges(server) == [None, "bytes=5000-", None]


def test_a_part_from_another_address_is_begun_anew(server, tmp_path):
    server.cuts = [5000, 0, 0, 0]
    with pytest.raises(DownloadError):
        downloaded("waterbirds", tmp_path, server.url)
    assert is_whole(downloaded("waterbirds", tmp_path, f"{server.url}/mirror"))
    assert server.asked[-1] == (f"/bucket/mirror/{ARCHIVE}", None)


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    server.cuts = [5000, 0, 0, 0]
    with pytest.raises(DownloadError):
        downloaded("waterbirds", tmp_path, server.url)
    (tmp_path / f"{ARCHIVE}.part").write_bytes(CONTENT)  # as if killed just before it got its name
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    assert ranges(server)[-1] == f"bytes={len(CONTENT)}-"


def test_a_part_that_is_too_long_is_begun_anew(server, tmp_path):
    server.cuts = [5000, 0, 0, 0]
    with pytest.raises(DownloadError):
        downloaded("waterbirds", tmp_path, server.url)
    (tmp_path / f"{ARCHIVE}.part").write_bytes(CONTENT + b"more")
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    assert ranges(server)[-2:] == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.statuses = [500, 503]
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    server.statuses = [500] * 3
    with pytest.raises(DownloadError, match=f"{server.url}/celeba_tfrecord_128.zip: the server answers 500 "):
        downloaded("celeba-undersampled", tmp_path, server.url)


def test_what_is_not_there_is_told_at_once(server, tmp_path):
    server.statuses = [404]
    with pytest.raises(DownloadError, match=f"^{server.url}/{ARCHIVE}: the server answers 404 Not Found$"):
        downloaded("waterbirds", tmp_path, server.url)
    assert len(server.asked) == 1 and names(tmp_path) == []


def test_no_server_and_no_address_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "WAITS", ())
    with pytest.raises(
        DownloadError, match="^http://127.0.0.1:9/b/.*: the server can't be reached: .*refused"
    ):
        downloaded("waterbirds", tmp_path, "http://127.0.0.1:9/b")
    with pytest.raises(
        DownloadError, match="^bucket/.*: not an address that starts with http:// or https://"
    ):
        downloaded("waterbirds", tmp_path, "bucket")
    assert names(tmp_path) == []


def test_another_content_than_at_first_is_refused(server, tmp_path):
    folder = downloaded("waterbirds", tmp_path, server.url)
    for path in folder.rglob("*.tfrec"):
        path.unlink()
    (folder / "waterbirds").rmdir()
    folder.rmdir()
    (tmp_path / ARCHIVE).unlink()
    server.content, server.tag = zipped({"other": b"content"}), '"two"'
    for _ in range(2):  # nor does the second try take it
        with pytest.raises(DownloadError) as caught:
            downloaded("waterbirds", tmp_path, server.url)
        found = hashlib.sha256(server.content).hexdigest()
        assert str(caught.value).startswith(
            f"{tmp_path / ARCHIVE}: its SHA-256 is {found}, but was {hashlib.sha256(CONTENT).hexdigest()} when it"
        )
        assert not folder.exists()
    (tmp_path / "SHA256SUMS").unlink()
    assert names(downloaded("waterbirds", tmp_path, server.url)) == ["other"]


def test_each_archive_has_its_checksum(server, tmp_path):
    downloaded("waterbirds", tmp_path, server.url)
    server.content = zipped({"train/0.tfrec": b"x"})
    downloaded("celeba-undersampled", tmp_path, server.url)
    assert [line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()] == [
        ARCHIVE,
        "celeba_tfrecord_128.zip",
    ]


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out", "C:/out"])
def test_an_archive_that_reaches_outside_is_refused(server, tmp_path, name):
    server.content = zipped({"good": b"x", name: b"x"})
    with pytest.raises(DownloadError, match="would be unpacked to another folder; nothing was"):
        downloaded("waterbirds", tmp_path / "sets", server.url)
    assert names(tmp_path) == ["sets"] and names(tmp_path / "sets") == [ARCHIVE]


def test_a_link_in_an_archive_is_refused(server, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    server.content = buffer.getvalue()
    with pytest.raises(DownloadError, match="'link' is a link"):
        downloaded("waterbirds", tmp_path, server.url)


def test_a_damaged_archive_leaves_no_folder(server, tmp_path):
    broken = bytearray(CONTENT)
    broken[1000] ^= 255
    server.content = bytes(broken)
    with pytest.raises(
        DownloadError, match=f"{ARCHIVE}, waterbirds/00.tfrec: can't be unpacked: Bad CRC-32 .*; remove it to"
    ):
        downloaded("waterbirds", tmp_path, server.url)
    assert names(tmp_path) == [ARCHIVE]


def test_what_is_no_archive_does_not_stand_in_the_way_of_the_archive(server, tmp_path):
    server.content = b"<html>not an archive</html>"
    message = f"{ARCHIVE}: can't be unpacked: File is not a zip file; remove it to fetch it again$"
    for _ in range(2):
        with pytest.raises(DownloadError, match=message):
            downloaded("waterbirds", tmp_path, server.url)
    assert names(tmp_path) == [ARCHIVE] and len(server.asked) == 1
    (tmp_path / ARCHIVE).unlink()
    server.content, server.tag = CONTENT, '"two"'
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))


KILLED = """
import os, sys, zipfile
from pathlib import Path
from model_patching.data.download import downloaded
extract = zipfile.ZipFile.extract
def dies_after_one(self, entry, path):
    extract(self, entry, path)
    os.kill(os.getpid(), 9)
zipfile.ZipFile.extract = dies_after_one
downloaded("waterbirds", Path(sys.argv[1]), sys.argv[2])
"""


def test_a_half_unpacked_folder_never_looks_whole(server, tmp_path):
    child = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), server.url])
    assert child.returncode == -9
    folder = tmp_path / "waterbirds_tfrecord_224"
    assert list(tmp_path.rglob("00.tfrec")) and not folder.exists()
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))
    assert len(server.asked) == 1
    assert names(tmp_path) == ["SHA256SUMS", folder.name, ARCHIVE]


@pytest.mark.parametrize("free, what", [(1000, "to download"), (len(CONTENT) + 1, f"to unpack {ARCHIVE}")])
def test_too_small_a_disk_is_told_before_it_is_full(server, tmp_path, monkeypatch, free, what):
    server.content = zipped(FILES | {"zeros": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED)
    usage = download.shutil.disk_usage(tmp_path)
    free = free if what == "to download" else len(server.content) + 1
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=free))
    with pytest.raises(DownloadError) as caught:
        downloaded("waterbirds", tmp_path, server.url)
    assert re.fullmatch(
        rf"{tmp_path}/\S+: can't be written: No space left on device: \d+ MiB needed {what}, \d+ MiB free",
        str(caught.value),
    )
    assert not (tmp_path / "waterbirds_tfrecord_224").exists()


def test_a_disk_that_fills_up_is_one_line_and_what_came_is_kept(server, tmp_path, monkeypatch):
    def full(done, total):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DownloadError, match=f"^{tmp_path}: can't be written: No space left on device$"):
        downloaded("waterbirds", tmp_path, server.url, full)
    assert names(tmp_path) == [f"{ARCHIVE}.part", f"{ARCHIVE}.part.json"]
    assert is_whole(downloaded("waterbirds", tmp_path, server.url))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=f"^{tmp_path}/file: can't be written: "):
        downloaded("waterbirds", tmp_path / "file", "http://127.0.0.1:9")


def test_the_archives_are_the_published_ones():
    assert download.BASE_URL == "https://storage.googleapis.com/model-patching"
    assert set(download.ARCHIVES.values()) == {
        "celeba_tfrecord_128.zip",
        "mnist_correlation_npy.zip",
        "waterbirds_tfrecord_224.zip",
    }
    assert Path(download.CHECKSUMS).name == download.CHECKSUMS
