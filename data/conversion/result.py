"""What a conversion has come to, and whether all of it has come through."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model_patching.data.beam_errors import lost
from model_patching.data.build import BuildError
from model_patching.data.conversion.bad import Bad, check_not_too_many
from model_patching.data.conversion.job import Job, load_source
from model_patching.data.conversion.layout import Layout
from model_patching.data.dataset import SPLITS
from model_patching.data.source import BadRecord, SourceError
from model_patching.data.write_errors import writing


class Result(NamedTuple):
    """What the pipeline has found out.

    Attributes:
        counts: of each split's groups, [C][K].
        bad: in the source's order.
        source_order: codes of each part, as `source_order.py` wants them; empty unless it is asked for.
    """

    counts: dict[str, list[list[int]]]
    bad: list[BadRecord]
    source_order: list[np.ndarray]


def finish(
    _: None, written: Sequence[tuple[int, np.ndarray]], bad: Sequence[Bad], layout: Layout, job: Job
) -> None:
    """Refuses output that lacks something, and leaves a `Result` in the file `result`."""
    files = dict(written)
    if len(files) != len(layout.files):
        raise BuildError(lost(f"{len(files)} of {len(layout.files)} output files"))
    found = sum(int(counts.sum()) for counts in files.values()) + len(bad)
    if found != layout.taken:
        raise BuildError(lost(f"{found} of {layout.taken} records"))
    ordered = [record.record for record in sorted([*layout.bad, *bad], key=lambda record: record[:2])]
    check_not_too_many(ordered, job.skip_bad)

    counts = {split: np.zeros(job.dataset.num_groups, np.int64) for split in SPLITS}
    for number, of_file in files.items():
        counts[layout.files[number].split] += of_file
    for split, of_split in counts.items():
        if not of_split.any():
            raise SourceError(
                f"{load_source(job.source_file).name}: split '{split}' has no images that can be read"
            )
    shape = (job.dataset.num_classes, job.dataset.num_subgroups)
    order = Path(job.scratch) / "source_order"
    result = Result(
        {split: of_split.reshape(shape).tolist() for split, of_split in counts.items()},
        ordered,
        pickle.loads(order.read_bytes()) if job.keeps_order else [],
    )
    with writing(job.folder):
        (Path(job.scratch) / "result").write_bytes(pickle.dumps(result))
