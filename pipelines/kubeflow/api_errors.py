"""What a cluster refuses, or why it can't be had, in one line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3
from kfp_server_api import ApiException


class ClusterError(Exception):
    """The cluster can't be had or has refused; the message is one line with the way out."""


class NoAccess(ClusterError):
    """The cluster doesn't let this user in, or not to this."""


class BadRequest(ClusterError):
    """The cluster has refused what it was asked for, as it can't be right."""


class NotFound(BadRequest):
    """The cluster has no such thing."""


class NameTaken(BadRequest):
    """Something of this name is there already."""


@contextmanager
def api_errors(host: str, token: str | None) -> Iterator[None]:
    """Turns what kfp raises into a ClusterError that names the host and never the token.

    Args:
        host: URL of the cluster's API.
        token: what must not be shown, even where the server sends it back.

    Raises:
        ClusterError: or one of its kinds.
    """
    try:
        yield
    except ApiException as error:
        raise refusal(host, error.status, error.body, token) from None
    except (urllib3.exceptions.HTTPError, requests.RequestException, OSError) as error:
        raise ClusterError(
            f"{host}: can't be reached: {_one_line(_cause(error), token)}; is the address right, and is the port "
            "forwarded (kubectl port-forward)?"
        ) from None


def refusal(host: str, status: int, body: str | bytes | None, token: str | None) -> ClusterError:
    """The error for an answer with a status that isn't 2xx."""
    said = _one_line(_said(body), token)
    said = f": {said}" if said else ""
    if status == 401:
        return NoAccess(
            f"{host}: unauthorized (401){said}; give a valid token by KF_PIPELINES_TOKEN or --token-file"
        )
    if status == 403:
        return NoAccess(
            f"{host}: forbidden (403){said}; the token's user needs access to the namespace (--namespace)"
        )
    if status == 404:
        return NotFound(f"{host}: not found (404){said}")
    if status == 409:
        return NameTaken(f"{host}: there already (409){said}")
    if status == 400:
        return BadRequest(f"{host}: refused (400){said}")
    return ClusterError(f"{host}: failed ({status}){said}")


def _said(body: str | bytes | None) -> str:
    """The server's own words: of its API, of its uploads, or of a proxy before it."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        answer = json.loads(text)
    except ValueError:
        return "" if "<" in text else text
    if not isinstance(answer, dict):
        return ""
    # The first detail has the message for users, `message` the whole chain of what failed.
    details = [detail for detail in answer.get("details") or () if isinstance(detail, dict)]
    for text in (
        *(detail.get("message") for detail in details),
        answer.get("message"),
        answer.get("error_message"),
    ):
        if text:
            return str(text)
    return ""


def _cause(error: BaseException) -> str:
    """The innermost reason: urllib3 and requests wrap them several times."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _cause(reason)
    if error.args and isinstance(error.args[0], BaseException):
        return _cause(error.args[0])
    # urllib3 puts its own object first: "<…HTTPConnection object at 0x…>: Failed to …".
    return str(error).rpartition(">: ")[2] or type(error).__name__


def _one_line(text: str, token: str | None) -> str:
    line = " ".join(text.split())
    if token:
        line = line.replace(token, "[token]")
    return line if len(line) <= 300 else line[:300] + "…"
