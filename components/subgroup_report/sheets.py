"""The translators' sample sheets in the report: which of them, and small enough for one page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from model_patching.components.subgroup_report.picture import Picture, picture
from model_patching.data.dataset import Dataset

LARGEST_PNG = 200_000  # bytes; a larger one becomes a JPEG
PAGE_WIDTH = 928  # CSS pixels; a sheet of small images is shown twice as large where the page has room


@dataclass(frozen=True)
class Sheet:
    """One sample sheet."""

    title: str
    picture: Picture
    is_kept: bool  # whether the translators at this step are those that made the patches

    @property
    def shown_size(self) -> tuple[int, int]:
        width, height = self.picture.size
        scale = 2 if 2 * width <= PAGE_WIDTH else 1
        return scale * width, scale * height


@dataclass(frozen=True)
class PairSheets:
    """Sheets of one pair of one model, in the order of the training.

    Each has two blocks of three rows: `source`, in `target`, and back; under a grey line the other way round.
    """

    title: str
    source: str
    target: str
    sheets: tuple[Sheet, ...]


def read_sheets(path: str, training: dict[str, Any], dataset: Dataset, count: int) -> list[PairSheets]:
    """Reads the sheets to show of one translator model: of each pair `count` at most, see `choose`.

    Args:
        path: folder of its ModelRun artifact; `sheets/<s>-<t>-step<number>.png` are there.
        training: its `training.json`.
        dataset: names classes and subgroups.
        count: how many of each pair at most.

    Raises:
        ValueError: a sheet isn't an image; the message names the file.
    """
    folder = f"{path}/sheets"
    files: dict[tuple[int, int], dict[int, str]] = {}
    for name in tf.io.gfile.listdir(folder) if count and tf.io.gfile.isdir(folder) else ():
        match = re.fullmatch(r"(\d+)-(\d+)-step(\d+)\.png", name)
        if match:
            source, target, step = map(int, match.groups())
            files.setdefault((source, target), {})[step] = f"{folder}/{name}"

    model = "" if training["label"] is None else f"{dataset.classes[training['label']]}, "
    kept = {tuple(selected["pair"]): selected["step"] for selected in training["selected"]}
    result = []
    for pair in sorted(files):
        source, target = (dataset.subgroups[subgroup] for subgroup in pair)
        title = f"{model}{source} ↔ {target}"
        sheets = tuple(
            _read_sheet(files[pair][step], f"{title}, step {step:,}", step == kept[pair])
            for step in choose(sorted(files[pair]), kept[pair], count)
        )
        result.append(PairSheets(title, source, target, sheets))
    return result


def choose(steps: Sequence[int], kept: int, count: int) -> list[int]:
    """Chooses `count` steps at most that show how the translation came about.

    The last is the one nearest to `kept`, the first the first of all, the others lie evenly between. One alone is that
    nearest to `kept`.

    Args:
        steps: at which there are sheets, ascending, at least one.
        kept: the step whose translators were kept; it may have no sheet of its own.
        count: at least 1.
    """
    last = min(range(len(steps)), key=lambda index: abs(steps[index] - kept))
    if count == 1:
        return [steps[last]]
    indices = {round(last * part / (count - 1)) for part in range(count)}
    return [steps[index] for index in sorted(indices)]


def _read_sheet(file: str, title: str, is_kept: bool) -> Sheet:
    with tf.io.gfile.GFile(file, "rb") as stream:
        content = stream.read()
    return Sheet(title, picture(content, LARGEST_PNG, file), is_kept)
