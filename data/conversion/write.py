"""Fourth step of a conversion: the records of an output file, in their order."""

import itertools
from collections.abc import Iterable
from uuid import uuid4

import numpy as np
import tensorflow as tf

from model_patching.data import beam_progress, schema
from model_patching.data.conversion.job import WRITING, Job
from model_patching.data.conversion.keys import order_key
from model_patching.data.conversion.layout import Layout
from model_patching.data.pieces import Piece, read_piece
from model_patching.data.write_errors import writing


def write_file(
    element: tuple[int, Iterable[Piece | None]], job: Job, layout: Layout
) -> tuple[int, np.ndarray]:
    """Writes an output file; returns its number and the sizes of its groups."""
    number, pieces = element
    file = layout.files[number]
    records = []
    counts = np.zeros(job.dataset.num_groups, np.int64)
    with writing(job.folder):
        for serialized in itertools.chain.from_iterable(read_piece(piece) for piece in pieces if piece):
            record = schema.deserialize(serialized)
            counts[job.dataset.group_index(record.label, record.subgroup)] += 1
            records.append((order_key(record.example_id, job.seed), record.example_id, serialized))
        records.sort()
        path = schema.shard_path(job.folder, file.split, file.index, file.count)
        scratch = f"{job.scratch}/{uuid4().hex}"
        with tf.io.TFRecordWriter(scratch, options=schema.LIGHT_COMPRESSION) as writer:
            for _, _, serialized in records:
                writer.write(serialized)
        tf.io.gfile.rename(scratch, str(path), overwrite=True)
        beam_progress.advance(job.scratch, WRITING, len(records))
    return number, counts
