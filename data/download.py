"""Fetches published archives: resumes what was cut off, checks what came, and unpacks it whole or not at all.

Beside `NAME.zip` lie `SHA256SUMS`, which has the checksum that each archive had when it was first unpacked, and, until
the archive is whole, `NAME.zip.part` with what has come so far and `NAME.zip.part.json` with the version that it is of.
"""

import errno
import json
import os
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import requests
import urllib3

from model_patching.data import idx
from model_patching.data.build import turn
from model_patching.data.checksums import sha256

BASE_URL = "https://storage.googleapis.com/model-patching"
# The archive of each data set.
ARCHIVES = {
    "celeba-undersampled": "celeba_tfrecord_128.zip",
    "mnist-correlation": "mnist_correlation_npy.zip",
    "waterbirds": "waterbirds_tfrecord_224.zip",
}
CHECKSUMS = "SHA256SUMS"
TIMEOUT = 60  # seconds without a byte
WAITS = (1, 2, 4, 8, 16)  # seconds between tries of which each brought nothing
CHUNK = 2**20  # bytes
PUNCTUATION = "\"')"  # that is left at the end of urllib3's messages
TRY_AGAIN = (408, 429, 500, 502, 503, 504)  # answers after which the same request may succeed

Progress = Callable[[int, int | None], None]  # bytes that are there, and of how many where that is known


class DownloadError(ValueError):
    """An archive can't be had. The message is one line and names the address or the file."""


class _CutOff(Exception):
    """A connection that broke, or an answer after which it is worth trying again."""


def downloaded(
    dataset: str, folder: Path, base_url: str = BASE_URL, progress: Progress | None = None
) -> Path:
    """Makes sure that a data set's published archive lies unpacked in a folder.

    What is there is kept: an unpacked archive isn't looked at again, a whole one isn't fetched again, and one that was
    cut off is continued, provided that the file at the address is still the same. Processes that do this in one folder
    take turns.

    Args:
        dataset: a key of `ARCHIVES`.
        folder: where the archive and what is unpacked from it go; it is made.
        base_url: address of the folder that has the archive, for mirrors.
        progress: called as bytes come.

    Returns:
        `<folder>/<name of the archive>`, with its content.

    Raises:
        DownloadError: the archive can't be fetched, isn't what it was at first, can't be unpacked, or the disk is full.
    """
    archive = folder / ARCHIVES[dataset]
    try:
        unpacked = archive.with_suffix("")
        if unpacked.is_dir():
            return unpacked
        folder.mkdir(parents=True, exist_ok=True)
        with turn(folder / ".lock"):
            if not unpacked.is_dir():
                if not archive.exists():
                    _fetch(f"{base_url.rstrip('/')}/{archive.name}", archive, progress)
                recorded, found = _recorded_checksum(archive), sha256(archive)
                if recorded is not None and found != recorded:
                    raise DownloadError(
                        f"{archive}: its SHA-256 is {found}, but was {recorded} when it first came: damaged, or another"
                        f" file. Remove it to fetch it again, or its line in {archive.with_name(CHECKSUMS)} if the"
                        " change is right"
                    )
                _unpack(archive, unpacked)
                if (
                    recorded is None
                ):  # only now, as what can't be unpacked may be a page that says what went wrong
                    with open(archive.with_name(CHECKSUMS), "a") as file:
                        file.write(f"{found}  {archive.name}\n")
    except OSError as error:
        raise DownloadError(f"{error.filename or folder}: can't be written: {error.strerror}") from None
    return unpacked


def _fetch(url: str, archive: Path, progress: Progress | None) -> None:
    """Downloads a file, in as many tries as it takes while each brings it further."""
    part = archive.with_name(f"{archive.name}.part")
    failures = 0
    with requests.Session() as session:
        while True:
            before = _size(part)
            try:
                _continue(session, url, part, progress)
                break
            except _CutOff as error:
                failures = 0 if _size(part) > before else failures + 1
                if failures > len(WAITS):
                    raise DownloadError(
                        f"{url}: {error}; run the same command again to go on from there"
                    ) from None
                time.sleep(WAITS[max(failures - 1, 0)])
    part.replace(archive)
    _version_file(part).unlink(missing_ok=True)


def _continue(session: requests.Session, url: str, part: Path, progress: Progress | None) -> None:
    """Asks for what is missing of a file and appends it; for all of it where that can't be done.

    Raises:
        _CutOff: it still isn't whole.
        DownloadError: it can't be had.
    """
    there = _size(part)
    version = _version(part, url)
    headers = {"Accept-Encoding": "identity"}  # so that bytes are the file's
    if there and version is not None:
        # Where the file is another one by now, the answer is all of it.
        headers |= {"Range": f"bytes={there}-", "If-Range": version}
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:
                if response.headers.get("Content-Range") == f"bytes */{there}":
                    return  # all of it was there
                part.unlink()
                raise _CutOff("the server has less of the file than there is already")
            if response.status_code in TRY_AGAIN:
                raise _CutOff(f"the server answers {response.status_code} {response.reason}")
            if response.status_code not in (200, 206):
                raise DownloadError(f"{url}: the server answers {response.status_code} {response.reason}")
            appends = response.status_code == 206
            if appends and not response.headers.get("Content-Range", "").startswith(f"bytes {there}-"):
                part.unlink()
                raise _CutOff("the server sent another part of the file than was asked for")
            _save(response, url, part, there if appends else 0, progress)
    except requests.exceptions.InvalidURL as error:
        raise DownloadError(f"{url}: not an address: {error}") from None
    except (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        raise DownloadError(f"{url}: not an address that starts with http:// or https://") from None
    except requests.exceptions.RequestException as error:
        raise _CutOff(_reason(error)) from None
    except urllib3.exceptions.HTTPError:  # while the content comes
        raise _CutOff("the connection broke") from None


def _save(response: requests.Response, url: str, part: Path, there: int, progress: Progress | None) -> None:
    """Writes what a response brings after the first `there` bytes of a file."""
    length = response.headers.get("Content-Length")
    total = None if length is None else there + int(length)
    if total is not None:
        _check_room(part, total - there, "to download")
    if not there:
        part.unlink(missing_ok=True)
        _version_file(part).write_text(json.dumps({"url": url, "version": _sent_version(response.headers)}))
    with open(part, "ab") as file:
        # Not iter_content: it waits until a chunk is full, and where the connection breaks it forgets what came.
        while chunk := response.raw.read1(CHUNK):
            file.write(chunk)
            there += len(chunk)
            if progress is not None:
                progress(there, total)
    if total is not None and there < total:
        raise _CutOff(f"the connection was closed after {there:,} of {total:,} bytes")


def _sent_version(headers: Mapping[str, str]) -> str | None:
    """What tells a version of a file from others, to the byte; None where the server doesn't say."""
    tag = headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return headers.get("Last-Modified")


def _version(part: Path, url: str) -> str | None:
    """The version that a partial file is of; None where it can't be continued."""
    try:
        saved = json.loads(_version_file(part).read_text())
        return saved["version"] if saved["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _recorded_checksum(archive: Path) -> str | None:
    """The checksum that an archive had when it was first unpacked; None where it hasn't been."""
    list_of_sums = archive.with_name(CHECKSUMS)
    try:
        return idx.read_checksums(list_of_sums).get(archive.name) if list_of_sums.exists() else None
    except idx.IdxError as error:
        raise DownloadError(str(error)) from None


def _unpack(archive: Path, unpacked: Path) -> None:
    """Unpacks an archive beside its place, where it then is at once."""
    partial = unpacked.with_name(f".{unpacked.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    name = ""
    try:
        with zipfile.ZipFile(archive) as content:
            entries = [entry for entry in content.infolist() if not entry.filename.startswith("__MACOSX/")]
            for entry in entries:
                name = entry.filename
                _check_entry(archive, entry)
            _check_room(unpacked, sum(entry.file_size for entry in entries), f"to unpack {archive.name}")
            partial.mkdir()
            for entry in entries:
                name = entry.filename
                content.extract(entry, partial)
        partial.rename(unpacked)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        where = f", {name}" if name else ""
        raise DownloadError(
            f"{archive}{where}: can't be unpacked: {error}; remove it to fetch it again"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_entry(archive: Path, entry: zipfile.ZipInfo) -> None:
    """Refuses what would lie outside the folder, or isn't a file or folder."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in entry.filename.partition("/")[0]:
        raise DownloadError(f"{archive}: {entry.filename!r} would be unpacked to another folder; nothing was")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DownloadError(f"{archive}: {entry.filename!r} is a link; nothing was unpacked")


def _check_room(path: Path, needed: int, what_for: str) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{os.strerror(errno.ENOSPC)}: {needed / 2**20:,.0f} MiB needed {what_for}, {free / 2**20:,.0f} MiB free",
            str(path),
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: requests.exceptions.RequestException) -> str:
    """What went wrong with a connection, without the objects that requests and urllib3 name."""
    if isinstance(error, requests.exceptions.Timeout):
        return f"nothing came for {TIMEOUT} seconds"
    if isinstance(error, requests.exceptions.ConnectionError):
        return f"the server can't be reached: {str(error).rsplit(': ', 1)[-1].strip(PUNCTUATION)}"
    return str(error)
