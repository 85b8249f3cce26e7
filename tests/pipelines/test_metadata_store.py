"""ML Metadata on a server: connecting to a real one, and what is said when that fails."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import grpc
import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.metadata_store.pywrap.metadata_store_extension import (
    metadata_store as metadata_store_serialized,
)
from ml_metadata.proto import metadata_store_pb2, metadata_store_service_pb2

from model_patching.pipelines.metadata_store import (
    PASSWORD,
    StoreError,
    check_store,
    connection_config,
    sqlite_config,
    store_address,
)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mysql://mlmd@mysql.kubeflow:3307/metadb", ("mysql", "mysql.kubeflow", 3307, "metadb", "mlmd", "")),
        ("mysql://a%40b@db/metadb", ("mysql", "db", 3306, "metadb", "a@b", "")),
        ("grpc://metadata-grpc-service:8080", ("grpc", "metadata-grpc-service", 8080, "", "", "")),
        ("sqlite:////volume/metadata.sqlite", ("sqlite", "", 0, "", "", "/volume/metadata.sqlite")),
    ],
)
def test_addresses(url, address):
    assert store_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "", "metadb", "http://host/metadb", "mysql://host/metadb", "mysql://me@/metadb", "mysql://me@host",
        "mysql://me@host:port/metadb", "mysql://me@host/a/b", "grpc://", "sqlite://metadata.sqlite",
        "sqlite:///relative.sqlite",
    ],
)  # fmt: skip
def test_what_is_no_address(url):
    with pytest.raises(ValueError, match="is none of mysql://USER@HOST:PORT/DATABASE"):
        store_address(url)


@pytest.mark.parametrize(
    "password", ["hunter2", "hun/ter2", "hun#ter2", "hun?ter2", "hun@ter2", "hun:ter2", "[hunter2", "12/ter2"]
)
@pytest.mark.parametrize("kind", ["mysql", "grpc", "MySQL", "postgresql"])
def test_a_password_has_no_place_in_it(kind, password):
    with pytest.raises(ValueError, match=PASSWORD) as caught:
        store_address(f"{kind}://me:{password}@host/metadb")
    assert "ter2" not in str(caught.value) and "hun" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me@host/metadb?ssl_mode=REQUIRED",
        "grpc://host:8080?x=1",
        "grpc://host:8080#x",
        "sqlite:////a?b",
    ],
)
def test_options_are_refused(url):
    with pytest.raises(ValueError, match=r"there are no options after \? or #") as caught:
        store_address(url)
    assert str(caught.value).startswith(f"{url}: ")


def test_a_new_database_is_made_by_several_at_once(mariadb, monkeypatch):
    monkeypatch.setenv(PASSWORD, mariadb.password)
    url = mariadb.url(f"store_{uuid4().hex}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(check_store, [url] * 4))
    check_store(url)


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_server_that_refuses_is_named(mariadb, monkeypatch, password):
    monkeypatch.delenv(PASSWORD, raising=False)
    if password:
        monkeypatch.setenv(PASSWORD, password)
    with pytest.raises(StoreError) as caught:
        check_store(mariadb.url("metadb"))
    said = str(caught.value)
    assert said.startswith(
        f"ML Metadata on MySQL at host 127.0.0.1, port {mariadb.port}, database metadb, user metadata: "
    )
    assert "\n" not in said and PASSWORD in said and "wrong" not in said
    assert ("none is given" in said) == (password is None)


@pytest.mark.parametrize("kind", ["mysql", "grpc"])
def test_a_server_that_is_not_there_is_named(kind):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"mysql://me@127.0.0.1:{port}/metadb" if kind == "mysql" else f"grpc://127.0.0.1:{port}"
    with pytest.raises(
        StoreError, match=f"host 127.0.0.1, port {port}.*: can't be reached: Connection refused"
    ):
        check_store(url, patience=0)


COMES_LATE_AND_HANGS_UP = """
import socket, sys, time
time.sleep(0.5)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
# To the one who looks whether somebody is there, as a proxy whose server is away, and then as MySQL; to ML Metadata.
for greeting in (b"", b"8", b""):
    connection, _ = server.accept()
    connection.sendall(greeting)
    connection.close()
"""


def test_a_server_that_comes_late_is_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Not in a thread: ML Metadata lets no other thread run while it connects.
    server = subprocess.Popen([sys.executable, "-c", COMES_LATE_AND_HANGS_UP, str(port)])
    with pytest.raises(StoreError, match="the server answers but doesn't let it in"):
        check_store(f"mysql://me@127.0.0.1:{port}/metadb", patience=60)
    assert server.wait() == 0


@pytest.fixture
def grpc_store(tmp_path):
    """Port of a server that speaks ML Metadata's gRPC calls, over a file."""
    connection = metadata_store_serialized.CreateMetadataStore(
        sqlite_config(str(tmp_path / "behind.sqlite")).SerializeToString(), b""
    )

    def handler(name):
        def answer(request, context):
            response, message, code = getattr(metadata_store_serialized, name)(connection, request)
            if code:
                statuses = {status.value[0]: status for status in grpc.StatusCode}
                context.abort(statuses[code], message.decode())
            return response

        return grpc.unary_unary_rpc_method_handler(answer)

    service = metadata_store_service_pb2.DESCRIPTOR.services_by_name["MetadataStoreService"]
    methods = {method.name: handler(method.name) for method in service.methods}
    server = grpc.server(ThreadPoolExecutor())
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def test_a_grpc_server_is_used(grpc_store, tmp_path):
    url = f"grpc://127.0.0.1:{grpc_store}"
    check_store(url)
    MetadataStore(connection_config(url)).put_context_type(metadata_store_pb2.ContextType(name="seen"))
    behind = MetadataStore(sqlite_config(str(tmp_path / "behind.sqlite")))
    assert [kind.name for kind in behind.get_context_types()] == ["seen"]


def test_a_file_is_made_with_its_folder(tmp_path):
    check_store(f"sqlite:///{tmp_path}/new/metadata.sqlite")
    assert (tmp_path / "new" / "metadata.sqlite").is_file()
