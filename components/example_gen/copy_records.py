"""The ExampleGen's Beam pipeline: copies files of records, each of which is read to its end and checked.

An element is a file: no record passes through Beam, a worker holds one at a time, and the records keep their order.
Equal records give equal files, byte for byte, with every runner and number of workers.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import uuid4

import apache_beam as beam
import tensorflow as tf

from model_patching.data import schema
from model_patching.data.beam_errors import lost
from model_patching.data.record_files import read_records
from model_patching.data.schema import RecordError
from model_patching.data.source import SourceError


class Copy(NamedTuple):
    """A file of records, and the path that its copy gets."""

    source: str
    target: str


class CopyRecords(beam.PTransform):
    """Copies files of `tf.train.Example` records to gzip TFRecords, each of which gets its name when it is whole.

    Raises while running:
        SourceError: a file can't be read to its end or a record is something else, or the runner lost a file.
    """

    def __init__(self, copies: Sequence[Copy], scratch_dir: str):
        """Takes the files.

        Args:
            copies: the files; the folders of their copies exist.
            scratch_dir: existing folder on the file system of the copies, for the caller to remove when the pipeline
                has ended.
        """
        super().__init__()
        self._copies = list(copies)
        self._scratch_dir = scratch_dir

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Builds the graph; its result is one element that comes when every file is written."""
        copied = (
            pipeline
            | "Files" >> beam.Create(self._copies, reshuffle=True)
            | "Copy" >> beam.Map(copy_records, self._scratch_dir)
        )
        return (
            pipeline
            | "Once" >> beam.Create([None])
            | "NothingLost" >> beam.Map(_check_files, beam.pvalue.AsList(copied), len(self._copies))
        )


def copy_records(copy: Copy, scratch_dir: str) -> str:
    """Copies one file; returns the path of the copy.

    Raises:
        SourceError: the file can't be read to its end, or a record is no `tf.train.Example`.
    """
    # A worker may be asked twice, when it was lost or slow: each attempt has its own scratch file.
    scratch = f"{scratch_dir}/{uuid4().hex}"
    with tf.io.TFRecordWriter(scratch, options=schema.LIGHT_COMPRESSION) as writer:
        for number, serialized in read_records(copy.source):
            try:
                schema.to_example(serialized)
            except RecordError as error:
                raise SourceError(f"{copy.source}, record {number}: {error}") from None
            writer.write(serialized)
    tf.io.gfile.rename(scratch, copy.target, overwrite=True)
    return copy.target


def _check_files(_: None, copied: Sequence[str], expected: int) -> None:
    """Refuses output that lacks files."""
    if len(set(copied)) != expected:
        raise SourceError(lost(f"{len(set(copied))} of {expected} files"))
