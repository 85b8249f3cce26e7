"""First step of a conversion: groups and hashed ids of the images of each part."""

from typing import NamedTuple

import numpy as np

from model_patching.data import beam_progress
from model_patching.data.conversion.bad import Bad, check_not_too_many
from model_patching.data.conversion.job import READING, Job, load_source
from model_patching.data.conversion.keys import draw_key, image_code, order_key
from model_patching.data.source import BadRecord, SourceImage
from model_patching.data.source_order import NO_GROUP
from model_patching.data.write_errors import writing


class Survey(NamedTuple):
    """What a part holds, in its order.

    Attributes:
        part: its number.
        code: split number * C * K + group, -1 where the record is bad; int32 [n].
        order: where in the split it goes, uint64 [n].
        draw: the smallest of a group are taken where not all are, uint64 [n].
        bad: those that are bad.
    """

    part: int
    code: np.ndarray
    order: np.ndarray
    draw: np.ndarray
    bad: list[Bad]


def survey_part(numbered: tuple[int, str], job: Job) -> Survey:
    """Groups and hashed ids of the images of a part."""
    part, name = numbered
    codes, orders, draws, bad = [], [], [], []
    for number, item in enumerate(load_source(job.source_file).survey(name)):
        code = order = draw = 0
        if isinstance(item, SourceImage):
            try:
                code = image_code(item, job.dataset)
                order, draw = order_key(item.example_id, job.seed), draw_key(item.example_id, job.seed)
            except ValueError as error:
                item = BadRecord(item.place, str(error))
        if isinstance(item, BadRecord):
            code = NO_GROUP
            bad.append(Bad(part, number, item))
            check_not_too_many([record.record for record in bad], job.skip_bad)
        codes.append(code)
        orders.append(order)
        draws.append(draw)
    with writing(job.folder):
        beam_progress.advance(job.scratch, READING, 1)
    return Survey(
        part, np.array(codes, np.int32), np.array(orders, np.uint64), np.array(draws, np.uint64), bad
    )
