"""Reads the records of one file in batches, and names the first that is bad."""

import itertools
import os
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from model_patching.data.schema import read_records
from model_patching.data.tensorflow_errors import first_line
from model_patching.data.untuned import untuned

BATCH = 512

Decode = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""From a serialized record, string [], to what is wanted of it."""


def read_batches(
    path: str, decode: Decode, wanted: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Decodes the records of a gzip TFRecord file, in file order.

    Args:
        path: the file.
        decode: runs in a graph.
        wanted: bool [records of the file]: which to decode; None for all.

    Yields:
        Numbers in the file of up to `BATCH` records, int64 [n], and what was decoded of them.

    Raises:
        ValueError: the file or a record can't be read or decoded. One line that names both.
    """
    numbered = read_records([path]).enumerate()
    if wanted is not None:
        mask = tf.constant(wanted)
        numbered = numbered.filter(lambda number, _: mask[number])
    decoded = numbered.map(
        lambda number, serialized: (number, decode(serialized)),
        num_parallel_calls=os.cpu_count(),
        deterministic=True,
    )
    try:
        yield from untuned(decoded.batch(BATCH)).as_numpy_iterator()
    except tf.errors.OpError as error:
        # A batch fails as a whole: its own records tell which one it was.
        raise ValueError(_first_bad_record(path, decode) or f"{path}: {first_line(error)}") from error


def _first_bad_record(path: str, decode: Decode) -> str | None:
    """One line that names the first record of a file which can't be read or decoded, and why."""
    records = iter(read_records([path]))
    for index in itertools.count():
        try:
            decode(next(records))
        except StopIteration:
            return None
        except tf.errors.OpError as error:
            return f"{path}: record {index}: {first_line(error)}"
