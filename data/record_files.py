"""Reads TFRecord files that others have written: plain or gzip, and maybe damaged on their way here."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from model_patching.data.schema import RecordError, to_example
from model_patching.data.source import BadRecord, SourceError
from model_patching.data.tensorflow_errors import first_line
from model_patching.data.truncation import is_truncated
from model_patching.data.untuned import untuned

FRAME = 16  # bytes of a record in a file besides its own: its length and two checksums
GZIP_MAGIC = b"\x1f\x8b\x08"


def read_records(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The records of a TFRecord file, in its order, each with its number from 0.

    Whether the file is compressed is told by its first bytes, as published names don't always say so.

    Raises:
        SourceError: the file can't be read to its end. The message is one line and names file and record.
    """
    path = str(path)
    compressed = _is_gzip(path)
    length = tf.io.gfile.stat(path).length
    if length == 0:  # it may be a copy that failed, or what plain writers leave where there are no records
        raise SourceError(f"{path}: is empty; copy it again, or remove it if it is meant to have no records")
    records = untuned(tf.data.TFRecordDataset(path, "GZIP" if compressed else "")).as_numpy_iterator()
    size = 0
    for number in itertools.count():
        try:
            record = next(records)
        except StopIteration:
            break
        except tf.errors.OpError as error:
            raise SourceError(f"{path}, record {number}: {_reason(error)}") from None
        yield number, record
        size += len(record) + FRAME
    # TensorFlow takes a file that was cut off in a record's length, or between two records of a gzip, for a whole one.
    if is_truncated(path) if compressed else length != size:
        raise SourceError(f"{path}, record {number}: the file is cut off here")


def read_examples(path: str | Path) -> Iterator[tuple[int, tf.train.Example | BadRecord]]:
    """The `tf.train.Example`s of a TFRecord file, in its order, each with its number from 0.

    Yields:
        The number, and the example; a BadRecord in its place where the record is something else.

    Raises:
        SourceError: the file can't be read to its end. The message is one line and names file and record.
    """
    for number, serialized in read_records(path):
        try:
            yield number, to_example(serialized)
        except RecordError as error:
            yield number, BadRecord(f"{path}, record {number}", str(error))


def _is_gzip(path: str) -> bool:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    except tf.errors.OpError as error:
        raise SourceError(f"{path}: can't be read: {first_line(error).removeprefix(f'{path}; ')}") from None


def _reason(error: tf.errors.OpError) -> str:
    """What is wrong with a file from a record on."""
    message = first_line(error)
    if not isinstance(error, tf.errors.DataLossError):
        return f"can't be read: {message}"
    if "truncated" in message:
        return "the file is cut off here"
    if "corrupted" in message:
        return "wrong checksum: the file is damaged, or not a TFRecord file"
    return f"the file is damaged: {message}"
