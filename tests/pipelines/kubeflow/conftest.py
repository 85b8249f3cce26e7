"""A server in the place of a cluster's."""

import json
import os
import re
import textwrap
import threading
import uuid
from datetime import datetime, timedelta, timezone
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

NOT_FOUND, ALREADY_EXISTS, INVALID, INTERNAL = (5, 404), (6, 409), (3, 400), (13, 500)


class ApiError(Exception):
    """An error of gRPC, as grpc-gateway writes it."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.status = code
        self.message = message


class ApiServer:
    """A server that speaks what Kubeflow Pipelines 2.16's does to kfp.Client, as far as this project asks.

    Paths, JSON and errors are those of backend/src/apiserver of github.com/kubeflow/pipelines at 2.16.1. What is
    created stays, by id in the order in which it was made, until it is deleted. Names are checked where the real one
    checks them: pipelines, their versions and experiments have names of their own, recurring runs need not.

    Attributes:
        requests: (method, path, body) of each request.
        tokens: the Authorization header of each request.
        token: the only one that is let in; None lets everybody in.
        version: what healthz says.
        fail: called with method and path before a request is served; may return a status to answer with, after which
            nothing is done.
    """

    def __init__(self):
        self.experiments, self.pipelines, self.versions = {}, {}, {}
        self.runs, self.recurring_runs = {}, {}
        self.requests, self.tokens = [], []
        self.token, self.version, self.multi_user = None, "2.16.1", False
        self.page_size_limit = 200
        self.fail = lambda method, path: None
        self._clock = datetime(2026, 11, 26, 3, tzinfo=timezone.utc)
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                with api._lock:
                    status, headers, answer = api._answer(self.command, self.path, self.headers, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def named(self, name):
        """The recurring runs of a name."""
        return [schedule for schedule in self.recurring_runs.values() if schedule["display_name"] == name]

    def switched_on(self, name):
        return [schedule for schedule in self.named(name) if schedule["status"] == "ENABLED"]

    def _answer(self, method, target, headers, body):
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        as_json = {"Content-Type": "application/json"}
        upload = "multipart/form-data" in headers.get("Content-Type", "")
        content = _form_file(headers, body) if upload else json.loads(body or b"null")
        self.requests.append((method, url.path, content))
        self.tokens.append(headers.get("Authorization"))
        if self.token is not None and headers.get("Authorization") != f"Bearer {self.token}":
            # As Istio's gateway answers, which stands before the server.
            return 401, {"Content-Type": "text/plain"}, b"Jwt verification fails"
        status = self.fail(method, url.path)
        if isinstance(status, tuple):
            return status
        if status is not None:
            said = {
                "code": 13,
                "message": f"Authorization: {headers.get('Authorization')} InternalServerError",
            }
            return status, as_json, json.dumps(said).encode()
        try:
            answer = self._route(method, url.path, query, content)
        except ApiError as error:
            if upload:
                said = {"error_message": error.message, "error_details": f"{error.message}\nmain.go:1"}
            else:
                detail = {"@type": "type.googleapis.com/google.rpc.Status", "code": error.code}
                said = {
                    "code": error.code,
                    "message": f"Failed: {error.message}: caused by",
                    "details": [{**detail, "message": error.message}],
                }
            return error.status, as_json, json.dumps(said).encode()
        return 200, as_json, json.dumps(answer).encode()

    def _route(self, method, path, query, body):
        prefix = "/apis/v2beta1/"
        if not path.startswith(prefix):
            raise ApiError(NOT_FOUND, "Not Found")
        path = path.removeprefix(prefix)
        for pattern, serve in (
            ("GET healthz", self._health),
            ("GET experiments", self._list_experiments),
            ("POST experiments", self._create_experiment),
            ("GET pipelines", self._list_pipelines),
            ("POST pipelines", self._create_pipeline),
            ("POST pipelines/upload_version", self._upload_version),
            ("GET pipelines/([^/]+)/versions", self._list_versions),
            ("GET runs", self._list_runs),
            ("POST runs", self._create_run),
            ("GET runs/([^/:]+)", self._get_run),
            ("GET recurringruns", self._list_recurring_runs),
            ("POST recurringruns", self._create_recurring_run),
            ("DELETE recurringruns/([^/:]+)", self._delete_recurring_run),
            ("POST recurringruns/([^/:]+):(enable|disable)", self._switch_recurring_run),
        ):
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return serve(query, body, *found.groups())
        raise ApiError(NOT_FOUND, "Not Found")

    def _health(self, query, body):
        health = {"commit_sha": "0", "multi_user": self.multi_user, "pipeline_store": "database"}
        return health if self.version is None else {**health, "tag_name": self.version}

    def _list_experiments(self, query, body):
        return self._page("experiments", self.experiments, query)

    def _create_experiment(self, query, body):
        self._needs_namespace(body.get("namespace"))
        self._unique(self.experiments, body, "experiment")
        return self._keep(self.experiments, "experiment_id", body)

    def _list_pipelines(self, query, body):
        return self._page("pipelines", self.pipelines, query)

    def _create_pipeline(self, query, body):
        self._unique(self.pipelines, body, "pipeline")
        return self._keep(self.pipelines, "pipeline_id", body)

    def _list_versions(self, query, body, pipeline_id):
        versions = {
            key: version for key, version in self.versions.items() if version["pipeline_id"] == pipeline_id
        }
        return self._page("pipeline_versions", versions, query)

    def _upload_version(self, query, body):
        if query.get("pipelineid") not in self.pipelines:
            raise ApiError(INVALID, "Failed to create a pipeline version")
        version = {
            "pipeline_id": query["pipelineid"],
            "display_name": query["name"],
            "pipeline_spec": {"text": body},
        }
        for other in self.versions.values():
            if all(other[key] == version[key] for key in ("pipeline_id", "display_name")):
                raise ApiError(ALREADY_EXISTS, "Failed to create a pipeline version")
        return self._keep(self.versions, "pipeline_version_id", version)

    def _list_runs(self, query, body):
        return self._page("runs", self.runs, query)

    def _create_run(self, query, body):
        self._known_version(body)
        return self._keep(self.runs, "run_id", {**body, "state": "PENDING"})

    def _get_run(self, query, body, run_id):
        if run_id not in self.runs:
            raise ApiError(NOT_FOUND, f"Run {run_id} not found")
        return self.runs[run_id]

    def _list_recurring_runs(self, query, body):
        self._needs_namespace(query.get("namespace"))
        return self._page("recurringRuns", self.recurring_runs, query)

    def _create_recurring_run(self, query, body):
        self._known_version(body)
        if not 1 <= int(body["max_concurrency"]) <= 10:
            raise ApiError(INVALID, "Max concurrency of a recurring run must be at least 1 and at most 10")
        status = "ENABLED" if body["mode"] == "ENABLE" else "DISABLED"
        return self._keep(self.recurring_runs, "recurring_run_id", {**body, "status": status})

    def _delete_recurring_run(self, query, body, schedule_id):
        self._recurring_run(schedule_id)
        del self.recurring_runs[schedule_id]
        return {}

    def _switch_recurring_run(self, query, body, schedule_id, action):
        schedule = self._recurring_run(schedule_id)
        schedule["mode"], schedule["status"] = action.upper(), f"{action.upper()}D"
        return {}

    def _recurring_run(self, schedule_id):
        if schedule_id not in self.recurring_runs:
            raise ApiError(NOT_FOUND, f"Job {schedule_id} not found")
        return self.recurring_runs[schedule_id]

    def _known_version(self, body):
        version = self.versions.get(body["pipeline_version_reference"]["pipeline_version_id"])
        if version is None or body["experiment_id"] not in self.experiments:
            raise ApiError(NOT_FOUND, "PipelineVersion not found")

    def _needs_namespace(self, namespace):
        if self.multi_user and not namespace:
            raise ApiError(INVALID, "Namespace cannot be empty in multi-user mode")

    def _unique(self, kept, body, kind):
        if any(other["display_name"] == body["display_name"] for other in kept.values()):
            message = f"Failed to create a new {kind}. The name {body['display_name']} already exists."
            raise ApiError(ALREADY_EXISTS, f"{message} Please specify a new name")

    def _keep(self, kept, key, body):
        self._clock += timedelta(seconds=1)
        thing = {**body, key: str(uuid.uuid4()), "created_at": self._clock.isoformat()}
        kept[thing[key]] = thing
        return thing

    def _page(self, name, kept, query):
        found = list(kept.values())
        if query.get("sort_by", "").endswith("desc"):
            found.reverse()
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", ()):
            assert predicate["operation"] in ("EQUALS", 1)  # its name or its number
            found = [thing for thing in found if thing[predicate["key"]] == predicate["stringValue"]]
        first = int(query.get("page_token") or 0)
        last = first + min(int(query.get("page_size") or 20), self.page_size_limit)
        page = {name: found[first:last], "total_size": len(found)}
        return page if last >= len(found) else {**page, "next_page_token": str(last)}


def _form_file(headers, body):
    """The text of the only file of a form."""
    message = BytesParser().parsebytes(f"Content-Type: {headers['Content-Type']}\n\n".encode() + body)
    (part,) = message.get_payload()
    return part.get_payload(decode=True).decode()


SPECIFICATION = """
    pipelineInfo: {name: birds, description: Model patching}
    root:
      dag:
        tasks:
          hello:
            componentRef: {name: comp-hello}
            taskInfo: {name: hello}
      inputDefinitions:
        parameters:
          overrides: {parameterType: STRING, defaultValue: "", isOptional: true}
          run_id: {parameterType: STRING, defaultValue: "", isOptional: true}
    components: {comp-hello: {executorLabel: exec-hello}}
    deploymentSpec: {executors: {exec-hello: {container: {image: "python:3.13", command: ["true"]}}}}
    schemaVersion: 2.1.0
    sdkVersion: kfp-2.16.1
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path_factory):
    """No settings of the person who runs the tests; the home is empty, and the terminal wide."""
    for name in list(os.environ):
        if name.startswith("KF_PIPELINES_") or name == "SSL_CERT_FILE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def api():
    server = ApiServer()
    yield server
    server.stop()


@pytest.fixture
def pipeline_file(tmp_path):
    """Writes a compiled pipeline; `extra` makes it another one."""

    def write(name="pipeline.yaml", extra=""):
        path = tmp_path / name
        path.write_text(textwrap.dedent(SPECIFICATION) + extra)
        return path

    return write
