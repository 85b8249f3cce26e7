"""Second step of a conversion: which images are taken, and which output file each goes to."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model_patching.data import beam_progress
from model_patching.data.beam_errors import lost
from model_patching.data.build import BuildError
from model_patching.data.conversion.bad import Bad, check_not_too_many
from model_patching.data.conversion.job import CONVERTING, WRITING, Job, load_source
from model_patching.data.conversion.survey import Survey
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.source import BadRecord, Source, SourceError
from model_patching.data.source_order import NO_GROUP, group_code
from model_patching.data.write_errors import writing

RECORDS_PER_SHARD = 1000  # at most; a worker holds the records of one output file in memory


class OutputFile(NamedTuple):
    """An output file: its split, its number in the split and that of the files there are."""

    split: str
    index: int
    count: int


@dataclass(frozen=True)
class Layout:
    """Which images are taken, and which output file each goes to.

    Attributes:
        files: the output files; an image's file is told by its number here.
        first_file: of each split, by its number in SPLITS.
        starts: order of the first record of each file of a split.
        draw_ends: of the groups of which not all are taken, by split number * C * K + group: those with a smaller draw
            are taken.
        left_out: numbers of the bad records of each part.
        lengths: records of each part.
        taken: all the records that are taken.
        bad: the bad records so far, in the source's order.
    """

    files: list[OutputFile]
    first_file: list[int]
    starts: list[list[int]]
    draw_ends: dict[int, int]
    left_out: list[frozenset[int]]
    lengths: list[int]
    taken: int
    bad: list[Bad]


def lay_out(surveys: Sequence[Survey], parts: list[tuple[int, str]], job: Job) -> Layout:
    """Decides on all images. It takes the memory of some 50 bytes for each."""
    surveys = sorted(surveys, key=lambda survey: survey.part)
    if len(surveys) != len(parts):
        raise BuildError(lost(f"{len(surveys)} of {len(parts)} surveys of parts"))
    source = load_source(job.source_file)
    bad = [record for survey in surveys for record in survey.bad]
    bad += _doubles(surveys, parts, source, job.dataset)
    bad.sort(key=lambda record: record[:2])
    check_not_too_many([record.record for record in bad], job.skip_bad)
    left_out = [frozenset(record.number for record in bad if record.part == part) for part, _ in parts]

    code = np.concatenate([survey.code for survey in surveys])
    order = np.concatenate([survey.order for survey in surveys])
    draw = np.concatenate([survey.draw for survey in surveys])
    starts_of_parts = np.cumsum([0, *(len(survey.code) for survey in surveys)])
    taken = np.ones(len(code), bool)
    taken[[starts_of_parts[record.part] + record.number for record in bad]] = False
    draw_ends = {}
    for group, limit in source.takes.items():
        limited = group_code("train", job.dataset.group_index(*group), job.dataset.num_groups)
        draws = np.sort(draw[taken & (code == limited)])
        if len(draws) > limit:
            draw_ends[limited] = int(draws[limit])
            taken &= (code != limited) | (draw < draws[limit])

    files, first_file, starts = [], [], []
    for number, split in enumerate(SPLITS):
        ordered = np.sort(order[taken & (code // job.dataset.num_groups == number)])
        if not len(ordered):
            raise SourceError(f"{source.name}: split '{split}' has no images")
        blocks = np.array_split(ordered, -(-len(ordered) // RECORDS_PER_SHARD))
        first_file.append(len(files))
        starts.append([int(block[0]) for block in blocks])
        files += [OutputFile(split, index, len(blocks)) for index in range(len(blocks))]
    total = int(taken.sum())
    with writing(job.folder):
        for stage in (CONVERTING, WRITING):
            beam_progress.set_total(job.scratch, stage, total)
        if job.keeps_order:
            arrays = [survey.code for survey in surveys]
            (Path(job.scratch) / "source_order").write_bytes(pickle.dumps(arrays))
    lengths = [len(survey.code) for survey in surveys]
    return Layout(files, first_file, starts, draw_ends, left_out, lengths, total, bad)


def _doubles(
    surveys: Sequence[Survey], parts: list[tuple[int, str]], source: Source, dataset: Dataset
) -> list[Bad]:
    """The records whose id came before in their split."""
    split = np.concatenate([survey.code for survey in surveys]) // dataset.num_groups
    order = np.concatenate([survey.order for survey in surveys])
    sorting = np.lexsort((order, split))
    same = (np.diff(order[sorting]) == 0) & (np.diff(split[sorting]) == 0) & (split[sorting][1:] >= 0)
    if not same.any():
        return []
    # Nearly always the same ids, but it is only their hashes that are known to be the same.
    suspected = set(order[sorting][1:][same].tolist())
    first: dict[tuple[str, str], str] = {}
    found = []
    for survey, (part, name) in zip(surveys, parts, strict=True):
        for number, item in enumerate(source.survey(name)):
            if int(survey.order[number]) not in suspected or survey.code[number] == NO_GROUP:
                continue
            key = (item.split, item.example_id)
            if key in first:
                reason = f"example_id {item.example_id!r} comes twice in split '{item.split}', first in {first[key]}"
                found.append(Bad(part, number, BadRecord(item.place, reason)))
            first.setdefault(key, item.place)
    return found
