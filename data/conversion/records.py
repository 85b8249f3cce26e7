"""Third step of a conversion: images become records, which are left in scratch files, sorted by output file."""

import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import apache_beam as beam

from model_patching.data import beam_progress, schema
from model_patching.data.conversion.bad import Bad, check_not_too_many
from model_patching.data.conversion.job import CONVERTING, Job, load_source
from model_patching.data.conversion.keys import draw_key, image_code, order_key
from model_patching.data.conversion.layout import Layout
from model_patching.data.dataset import SPLITS
from model_patching.data.images import ImageError, prepare_image
from model_patching.data.pieces import write_pieces
from model_patching.data.schema import Record
from model_patching.data.source import BadRecord, SourceError, SourceImage
from model_patching.data.write_errors import writing

IMAGES_AT_ONCE = 32  # that a worker reads before it decodes them, several at a time


def convert_part(numbered: tuple[int, str], job: Job, layout: Layout) -> Iterator:
    """Leaves the records of a part where the makers of the output files find them; yields where, and the bad ones."""
    part, name = numbered
    bad: list[Bad] = []
    # A worker may be asked twice, when it was lost or slow: each attempt has its own scratch files.
    prefix = f"{job.scratch}/{uuid4().hex}"
    with writing(job.folder):
        yield from write_pieces(_converted(part, name, job, layout, bad), prefix)
    yield from (beam.pvalue.TaggedOutput("bad", record) for record in bad)


def _converted(part: int, name: str, job: Job, layout: Layout, bad: list[Bad]) -> Iterator[tuple[int, bytes]]:
    """Output file and serialized record of each image of a part that is taken; the bad ones are added to `bad`."""

    def prepare(item: SourceImage | BadRecord) -> tuple[int, bytes] | BadRecord:
        if isinstance(item, BadRecord):
            return item
        try:
            encoded = prepare_image(item.image, job.dataset.image_shape, job.image)
        except ImageError as error:
            return BadRecord(item.place, str(error))
        split = SPLITS.index(item.split)
        place = bisect_right(layout.starts[split], order_key(item.example_id, job.seed)) - 1
        further = {name: schema.feature(value) for name, value in item.further.items()}
        record = Record(encoded, item.label, item.subgroup, item.example_id, further=further)
        return layout.first_file[split] + place, schema.serialize(record)

    items = _taken(part, name, job, layout)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(itertools.islice(items, IMAGES_AT_ONCE)):
            results = pool.map(prepare, (item for _, item in batch))
            for (number, _), result in zip(batch, results, strict=True):
                if isinstance(result, BadRecord):
                    bad.append(Bad(part, number, result))
                    check_not_too_many([record.record for record in layout.bad + bad], job.skip_bad)
                else:
                    yield result
            beam_progress.advance(job.scratch, CONVERTING, len(batch))


def _taken(part: int, name: str, job: Job, layout: Layout) -> Iterator[tuple[int, SourceImage | BadRecord]]:
    """Images of a part that are taken, each with its number in the part, and those that have turned out bad."""
    left_out = layout.left_out[part]
    number = -1
    for number, item in enumerate(load_source(job.source_file).read(name)):
        if number in left_out:
            continue
        if isinstance(item, SourceImage) and item.split == SPLITS[0]:
            draw_end = layout.draw_ends.get(image_code(item, job.dataset))
            if draw_end is not None and draw_key(item.example_id, job.seed) >= draw_end:
                continue
        yield number, item
    if number + 1 != layout.lengths[part]:
        raise SourceError(f"{name}: has changed while it was being read")
