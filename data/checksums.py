"""SHA-256 of files."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_patching.data.source import SourceError

CHUNK = 2**20  # bytes


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits.

    Raises:
        SourceError: the file can't be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror}") from None
    return digest.hexdigest()


def sha256_of_all(paths: Sequence[str | Path]) -> list[str | None]:
    """SHA-256 of each file, several at once; None for one that can't be read."""

    def checksum(path: str | Path) -> str | None:
        try:
            return sha256(path)
        except SourceError:
            return None

    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        return list(pool.map(checksum, paths))


def folder_checksum(named: Iterable[tuple[str, str | None]]) -> str:
    """One SHA-256 for many files.

    Args:
        named: each file's name and checksum, in any order; None for a file that can't be read.
    """
    digest = hashlib.sha256()
    for name, checksum in sorted(named):
        digest.update(f"{checksum or 'none'} {name}\n".encode())
    return digest.hexdigest()
