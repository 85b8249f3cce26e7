"""The connection to a cluster's Kubeflow Pipelines."""

import contextlib
import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import kfp
import requests
from kfp.client import ServiceAccountTokenVolumeCredentials

from model_patching.pipelines.kubeflow.api_errors import (
    BadRequest,
    ClusterError,
    NoAccess,
    api_errors,
    refusal,
)

# Older servers start trainings without a GPU (before 2.4 they don't read how the SDK writes resources), and give the
# first step no id of the run (before 2.5 they don't fill in {{$.pipeline_job_uuid}}).
OLDEST_SERVER = (2, 5)
_SECONDS = 60.0  # to wait for an answer of the server
_DEFAULT_NAMESPACE = "kubeflow"  # what kfp.Client takes for "none given"


class Address(NamedTuple):
    """Where a cluster is, and as whom to ask.

    Attributes:
        host: URL of the API or of the user interface, such as http://localhost:8080.
        namespace: of the user's profile, where the cluster has several users.
        token: sent as "Authorization: Bearer".
        token_file: has the token instead; it is read for each request, as Kubernetes renews it.
        ca_file: certificates to trust, PEM.
    """

    host: str | None
    namespace: str | None = None
    token: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None


class Cluster(NamedTuple):
    """A connection.

    Attributes:
        client: to be used within `errors()`.
        host: as in `Address`, without a slash at the end.
        namespace: as in `Address`.
        token: what must not be shown.
    """

    client: kfp.Client
    host: str
    namespace: str | None
    token: str | None

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what the client raises into a ClusterError; hides what it prints."""
        with api_errors(self.host, self.token), contextlib.redirect_stdout(None):
            yield

    def page(self, path: str) -> str:
        """URL of a page of the user interface."""
        return f"{os.environ.get('KF_PIPELINES_UI_ENDPOINT', self.host).rstrip('/')}/#/{path}"


def connect(address: Address) -> Cluster:
    """Connects, and checks that the server is one that this SDK can talk to.

    Raises:
        BadRequest: the address can't be right.
        ClusterError: there is no server, it refuses, or its version doesn't fit.
    """
    host, token = _checked(address)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it would tell of each attempt
    socket.setdefaulttimeout(_SECONDS)  # kfp has no setting for it and would wait for ever
    with api_errors(host, token):
        health = _health(host, token, address.ca_file)
    _check_version(host, health)
    if health.get("multi_user") and not address.namespace:
        raise BadRequest(f"{host}: has several users; give your profile's namespace, --namespace")
    credentials = None
    if address.token_file is not None:
        credentials = ServiceAccountTokenVolumeCredentials(str(address.token_file))
    with api_errors(host, token), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it needs Kubeflow Pipelines 2
        client = kfp.Client(
            host=host,
            namespace=address.namespace or _DEFAULT_NAMESPACE,
            existing_token=None if credentials else token,
            credentials=credentials,
            ssl_ca_cert=str(address.ca_file) if address.ca_file else None,
        )
    return Cluster(client, host, address.namespace, token)


def _checked(address: Address) -> tuple[str, str | None]:
    """Host and token."""
    if not address.host:
        raise BadRequest(
            "--host: is missing; give the URL of Kubeflow Pipelines, or set KF_PIPELINES_ENDPOINT"
        )
    if "@" in address.host:  # the message must not show what is before it
        raise BadRequest("--host: has a user or a password in it; leave them out, and give a token")
    if not re.fullmatch(r"https?://[^/\s]+[^\s?#]*", address.host):
        raise BadRequest(f"--host {address.host}: give a URL, http://… or https://…")
    if address.token and address.token_file:
        raise BadRequest("--token and --token-file exclude each other")
    token = address.token
    if address.token_file is not None:
        try:
            token = address.token_file.read_text().strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it isn't text"
            raise BadRequest(f"--token-file {address.token_file}: can't be read: {reason}") from None
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise BadRequest("the token is empty or has characters that no token has; was it copied whole?")
    if address.ca_file is not None and not address.ca_file.is_file():
        raise BadRequest(f"--ca-file {address.ca_file}: there is no such file")
    return address.host.rstrip("/"), token


def _health(host: str, token: str | None, ca_file: Path | None) -> dict:
    """What the server says of itself: tag_name and multi_user.

    kfp.Client's own question drops the version, and asks five times in twenty seconds where the answer is no.
    """

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As a function, so that requests doesn't put a password of ~/.netrc in its place.
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    response = requests.get(
        f"{host}/apis/v2beta1/healthz",
        auth=authorize,
        timeout=_SECONDS,
        verify=str(ca_file) if ca_file else True,
        allow_redirects=False,
    )
    if response.is_redirect:
        raise NoAccess(
            f"{host}: unauthorized: it sends to a login page; give a token by KF_PIPELINES_TOKEN or --token-file"
        )
    if response.status_code == 404:
        raise ClusterError(
            f"{host}: has no API v2beta1; Kubeflow Pipelines {_dotted(OLDEST_SERVER)} or newer is needed there"
        )
    if not response.ok:
        raise refusal(host, response.status_code, response.text, token)
    try:
        health = response.json()
    except ValueError:
        health = None
    if not isinstance(health, dict):
        raise ClusterError(
            f"{host}: is no API of Kubeflow Pipelines: it answers with a page; is the address right?"
        )
    return health


def _check_version(host: str, health: dict) -> None:
    """A server that doesn't tell its version is let through."""
    found = re.match(r"v?(\d+)\.(\d+)\.", str(health.get("tag_name", "")))
    if found is None:
        return
    version = (int(found[1]), int(found[2]))
    sdk = int(kfp.__version__.partition(".")[0])
    if version < OLDEST_SERVER or version[0] > sdk:
        raise ClusterError(
            f"{host}: Kubeflow Pipelines {health['tag_name']} doesn't go with the SDK, kfp {kfp.__version__}; it needs "
            f"a server of {_dotted(OLDEST_SERVER)} or newer and below {sdk + 1}"
        )


def _dotted(version: tuple[int, int]) -> str:
    return "{}.{}".format(*version)
