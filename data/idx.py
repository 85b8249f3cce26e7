"""Reads gzip idx files, the format of the MNIST database, checking them against their SHA-256 checksums.

Format: http://yann.lecun.com/exdb/mnist/ (big-endian header: two zero bytes, the type, the number of dimensions, then
each dimension as 32 bits; the values follow).
"""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

IMAGES_MAGIC = 0x00000803  # unsigned bytes, three dimensions
LABELS_MAGIC = 0x00000801  # unsigned bytes, one dimension


class IdxError(ValueError):
    """A file isn't the idx file that it should be. The message is one line and names the file."""


def read_images(path: Path, sha256: str) -> np.ndarray:
    """Images of a gzip idx file.

    Returns:
        uint8 [n, height, width].

    Raises:
        IdxError: the file is missing, has another checksum, isn't whole, or holds something else.
    """
    return _read(path, sha256, IMAGES_MAGIC)


def read_labels(path: Path, sha256: str) -> np.ndarray:
    """Labels of a gzip idx file.

    Returns:
        uint8 [n].

    Raises:
        IdxError: the file is missing, has another checksum, isn't whole, or holds something else.
    """
    return _read(path, sha256, LABELS_MAGIC)


def read_checksums(path: Path) -> dict[str, str]:
    """SHA-256 of each file that a `sha256sum` list names.

    Raises:
        IdxError: the list is missing or a line isn't "checksum  name".
    """
    checksums = {}
    for line in _content(path).decode(errors="replace").splitlines():
        fields = line.split()
        if len(fields) != 2 or len(fields[0]) != 64:
            raise IdxError(f"{path}: not a line of a sha256sum list: {line!r}")
        checksums[fields[1]] = fields[0]
    return checksums


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdxError(f"{path}: can't be read: {error.strerror}") from None


def _read(path: Path, sha256: str, magic: int) -> np.ndarray:
    compressed = _content(path)
    found = hashlib.sha256(compressed).hexdigest()
    if found != sha256:
        raise IdxError(f"{path}: damaged or another file: its SHA-256 is {found}, expected {sha256}")
    try:
        content = gzip.decompress(compressed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise IdxError(f"{path}: not a whole gzip file: {error}") from None

    dimensions = magic & 0xFF
    header = struct.Struct(f">I{dimensions}I")
    if len(content) < header.size:
        raise IdxError(f"{path}: truncated: {len(content)} bytes, the header alone has {header.size}")
    found_magic, *shape = header.unpack_from(content)
    if found_magic != magic:
        raise IdxError(f"{path}: the magic number is {found_magic:#010x}, expected {magic:#010x}")
    size = header.size + int(np.prod(shape, dtype=np.int64))
    if len(content) != size:
        raise IdxError(f"{path}: {len(content)} bytes, expected {size} for shape {shape}")
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(shape)
