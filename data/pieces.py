"""Records on their way to the worker that makes their output file: on disk, since Beam would hold them in memory.

Beam's local runner keeps everything that passes between its steps in the memory of one process. So the step that reads
a source file leaves the records in scratch files, sorted by output file, and passes on only where they lie.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import tensorflow as tf

CHUNK = 2**26  # bytes of records that are sorted at once


class Piece(NamedTuple):
    """Serialized records of one output file, one after the other in a scratch file from a byte on."""

    path: str
    offset: int
    lengths: tuple[int, ...]


def write_pieces(records: Iterable[tuple[int, bytes]], prefix: str) -> Iterator[tuple[int, Piece]]:
    """Sorts records by output file, a chunk in memory at a time, and writes a scratch file for each chunk.

    Args:
        records: number of the output file and serialized record.
        prefix: of the scratch files' paths.

    Yields:
        Number of the output file and a piece of its records; several for each file, if there are several chunks.
    """
    chunk: dict[int, list[bytes]] = {}
    size = chunks = 0
    for file_number, serialized in records:
        chunk.setdefault(file_number, []).append(serialized)
        size += len(serialized)
        if size >= CHUNK:
            yield from _write_chunk(chunk, f"{prefix}-{chunks}")
            chunk, size, chunks = {}, 0, chunks + 1
    yield from _write_chunk(chunk, f"{prefix}-{chunks}")


def read_piece(piece: Piece) -> Iterator[bytes]:
    """The records of a piece, in the order in which they were written."""
    with tf.io.gfile.GFile(piece.path, "rb") as file:
        file.seek(piece.offset)
        content = file.read(sum(piece.lengths))
    end = 0
    for length in piece.lengths:
        start, end = end, end + length
        yield content[start:end]


def _write_chunk(chunk: dict[int, list[bytes]], path: str) -> Iterator[tuple[int, Piece]]:
    offset = 0
    with tf.io.gfile.GFile(path, "wb") as file:
        for records in chunk.values():
            file.write(b"".join(records))
    for file_number, records in chunk.items():
        lengths = tuple(len(serialized) for serialized in records)
        yield file_number, Piece(path, offset, lengths)
        offset += sum(lengths)
