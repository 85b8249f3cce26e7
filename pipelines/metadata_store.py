"""The ML Metadata store that the steps of a cluster share, given by a URL, and what is wrong if it can't be had.

Nothing here imports TFX, so that a step whose store is away says so at once. ML Metadata's own text is empty then
("errno: , error: ").
"""

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2

PASSWORD = "MODEL_PATCHING_METADATA_PASSWORD"  # the environment variable
PATIENCE = 60  # seconds for which a server may be away, as it is while it is moved
_PORTS = {"mysql": 3306, "grpc": 8080}
_FORMS = "mysql://USER@HOST:PORT/DATABASE, grpc://HOST:PORT or sqlite:////FILE"


class StoreError(ValueError):
    """The store can't be used. One line that says which, and why."""


class StoreAway(StoreError):
    """It can't be reached. It may be back later."""


class StoreAddress(NamedTuple):
    """Where a store is.

    Attributes:
        kind: "mysql", "grpc" or "sqlite".
        host, port: of a server.
        database, user: of MySQL.
        file: of SQLite.
    """

    kind: str
    host: str = ""
    port: int = 0
    database: str = ""
    user: str = ""
    file: str = ""

    def __str__(self) -> str:
        if self.kind == "sqlite":
            return f"ML Metadata in {self.file}"
        if self.kind == "grpc":
            return f"ML Metadata's server at host {self.host}, port {self.port}"
        return (
            f"ML Metadata on MySQL at host {self.host}, port {self.port}, database {self.database}, "
            f"user {self.user}"
        )


def store_address(url: str) -> StoreAddress:
    """Reads mysql://USER@HOST:PORT/DATABASE, grpc://HOST:PORT or sqlite:////FILE.

    Raises:
        ValueError: it is none of them, or has a password in it, which is not shown.
    """
    # Before it is taken apart: a password may have / ? # in it, which end a host.
    login, at, _ = url.partition("://")[2].rpartition("@")
    if at and ":" in login and not url.startswith("sqlite:"):
        raise ValueError(f"the password must not be in the URL; it comes from a secret, in {PASSWORD}")
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError(f"{url}: there are no options after ? or #; ML Metadata is asked without TLS")
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
    host, user, path = parts.hostname or "", unquote(parts.username or ""), unquote(parts.path[1:])
    if parts.scheme == "sqlite" and not parts.netloc and path.startswith("/"):
        return StoreAddress("sqlite", file=path)
    if parts.scheme == "grpc" and host and port and not user and not path:
        return StoreAddress("grpc", host, port)
    if parts.scheme == "mysql" and host and port and user and path and "/" not in path:
        return StoreAddress("mysql", host, port, path, user)
    raise ValueError(f"{url} is none of {_FORMS}")


def connection_config(
    url: str,
) -> "metadata_store_pb2.ConnectionConfig | metadata_store_pb2.MetadataStoreClientConfig":
    """What ML Metadata connects with; the password of MySQL comes from the environment."""
    from ml_metadata.proto import metadata_store_pb2 as proto

    address = store_address(url)
    if address.kind == "grpc":
        return proto.MetadataStoreClientConfig(host=address.host, port=address.port)
    if address.kind == "sqlite":
        return sqlite_config(address.file)
    mysql = proto.MySQLDatabaseConfig(
        host=address.host,
        port=address.port,
        database=address.database,
        user=address.user,
        password=os.environ.get(PASSWORD, ""),
    )
    return proto.ConnectionConfig(mysql=mysql)


def sqlite_config(file: str) -> "metadata_store_pb2.ConnectionConfig":
    """What ML Metadata connects with to a file, which it makes; the file's folder must be there."""
    from ml_metadata.proto import metadata_store_pb2 as proto

    mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return proto.ConnectionConfig(
        sqlite=proto.SqliteMetadataSourceConfig(filename_uri=file, connection_mode=mode)
    )


def check_store(url: str, patience: float = PATIENCE) -> None:
    """Connects once, and makes the tables where there are none.

    Args:
        url: see `store_address`.
        patience: seconds for which a server that doesn't answer is waited for.

    Raises:
        StoreAway: it can't be reached.
        StoreError: it refuses.
    """
    from ml_metadata.metadata_store.metadata_store import MetadataStore

    address = store_address(url)
    if address.kind == "sqlite":
        Path(address.file).parent.mkdir(parents=True, exist_ok=True)
    else:
        _wait_for(address, patience)
    try:
        MetadataStore(connection_config(url)).get_context_types()
    except Exception as error:  # one of many kinds, by the store
        reason = " ".join(str(error).split())
        if address.kind == "mysql" and reason.endswith("errno: , error:"):
            given = "the one given" if os.environ.get(PASSWORD) else "and none is given"
            reason = (
                f"the server answers but doesn't let it in; check user, rights and password ({PASSWORD}, {given}), "
                "and that the user logs in by mysql_native_password"
            )
        raise StoreError(f"{address}: {reason}") from None


def _wait_for(address: StoreAddress, patience: float) -> None:
    """Waits until the server answers."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((address.host, address.port), timeout=10) as connection:
                # MySQL speaks first. One that is frozen doesn't; ML Metadata would wait for ever, all threads with it.
                # What stands before one that is away takes the connection and closes it.
                if address.kind == "mysql" and not connection.recv(1):
                    raise ConnectionResetError("it closes the connection")
            return
        except OSError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise StoreAway(f"{address}: can't be reached: {error.strerror or error}") from None
            time.sleep(min(2, left))
