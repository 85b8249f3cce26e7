"""What every worker of a conversion needs."""

import pickle
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from model_patching.data.dataset import Dataset
from model_patching.data.image_settings import ImageSettings
from model_patching.data.source import Source

READING, CONVERTING, WRITING = STAGES = ("reading", "converting", "writing")  # what the progress is told of


class Job(NamedTuple):
    """What is to be done, small enough to go to every worker. The source may be large, so it is in a file.

    Attributes:
        source_file: the source, pickled.
        dataset: the source's.
        keeps_order: the source's.
        seed: fixes the order of the records, and which are drawn.
        image: what is done to images that don't have the data set's shape.
        skip_bad: bad records that are left out, at most.
        folder: where the output files go.
        scratch: where everything else goes, to be removed in the end; on the same file system.
    """

    source_file: str
    dataset: Dataset
    keeps_order: bool
    seed: int
    image: ImageSettings
    skip_bad: int
    folder: str
    scratch: str


@lru_cache(maxsize=1)
def load_source(file: str) -> Source:
    """The source, read once by each worker process."""
    return pickle.loads(Path(file).read_bytes())
