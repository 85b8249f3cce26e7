"""Reads the records that are to be patched, and says where the bad ones are."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from model_patching.components.augmenter.layout import Group
from model_patching.data import schema
from model_patching.data.dataset import EXAMPLE_ID, LABEL, SUBGROUP, Dataset
from model_patching.data.schema import RecordError
from model_patching.data.tensorflow_errors import first_line

BATCH = 256


class SourceRecord(NamedTuple):
    """A record as it lies in a file, and what decides where it goes."""

    serialized: bytes
    group: Group
    example_id: str


def read(path: str, dataset: Dataset) -> Iterator[SourceRecord]:
    """The records of a gzip TFRecord file, in its order.

    Raises:
        RecordError: the file or a record is damaged, or a record belongs to no group of the data set. The message is
            one line and names file and record.
    """

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, ...]:
        record = schema.parse(serialized, dataset, patched=False)
        return serialized, record[LABEL], record[SUBGROUP], record[EXAMPLE_ID]

    batches = schema.read_records([path]).batch(BATCH).map(parse).as_numpy_iterator()
    while True:
        try:
            # A batch fails as a whole, and doesn't say which of its records it was.
            serialized, labels, subgroups, ids = next(batches)
            groups = list(zip(labels.tolist(), subgroups.tolist(), strict=True))
            for group in set(groups):
                dataset.group_index(*group)
            decoded = [example_id.decode() for example_id in ids]
        except StopIteration:
            return
        except tf.errors.OpError as error:
            _name_the_bad_record(path, dataset)
            raise RecordError(f"{path}: {first_line(error)}") from None
        except ValueError:
            _name_the_bad_record(path, dataset)
            raise
        yield from map(SourceRecord, serialized, groups, decoded)


def places(example_id: str, paths: Sequence[str], dataset: Dataset) -> list[tuple[str, int]]:
    """File and number in the file, from 0, of every record with this id."""
    return [
        (path, number)
        for path in paths
        for number, record in enumerate(read(path, dataset))
        if record.example_id == example_id
    ]


def _name_the_bad_record(path: str, dataset: Dataset) -> None:
    """Raises the error of the first record of a file that is bad; returns if none is."""
    records = schema.read_records([path]).as_numpy_iterator()
    for number in itertools.count():
        try:
            record = schema.deserialize(next(records))
            dataset.group_index(record.label, record.subgroup)
        except StopIteration:
            return
        except tf.errors.OpError as error:
            raise RecordError(f"{path}, record {number}: can't be read: {first_line(error)}") from None
        except ValueError as error:
            raise RecordError(f"{path}, record {number}: {error}") from None
