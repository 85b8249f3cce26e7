"""What folders of records hold: how many of each group and split, and some of them to be looked at.

A folder may be one that was built, one of other records, an Examples artifact of a pipeline, or one split of these.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_patching.data.build import MANIFEST
from model_patching.data.contact_sheet import pixels
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.record_files import read_records
from model_patching.data.schema import Record, RecordError, deserialize
from model_patching.data.source import SourceError

RECORD_FILES = "*.gz"  # data-00000-of-00001.tfrecord.gz, and ExampleGen's data_tfrecord-00000-of-00001.gz
TFX_SPLIT = "Split-"

Group = tuple[int, int]  # label, subgroup


@dataclass(frozen=True)
class Overview:
    """What a folder holds.

    Attributes:
        dataset: names of classes and subgroups, "class 0" and "subgroup 0" where no manifest has them; and the shape of
            the images.
        counts: records of each split's groups, [C][K].
        samples: the first records of each group of one split, in the order of `Dataset.group_index`.
    """

    dataset: Dataset
    counts: dict[str, list[list[int]]]
    samples: list[list[Record]]


def overview(folder: Path, sampled: str, most: int, dataset: Dataset | None = None) -> Overview:
    """Reads all records of a folder.

    Args:
        folder: has `train/` … with `*.gz`, `Split-train/` … likewise, or such files itself.
        sampled: the split that samples are taken of; one of `find_files`.
        most: samples of each group, at most.
        dataset: names the groups; None for what the manifest says, or numbers where there is none.

    Raises:
        SourceError: there are no records, or one is damaged. The message is one line and names the place.
    """
    counts: dict[str, dict[Group, int]] = {}
    samples: dict[Group, list[Record]] = {}
    first: Record | None = None
    for split, paths in find_files(folder).items():
        counts[split] = {}
        for path in paths:
            for place, record in _read(path):
                group = (record.label, record.subgroup)
                if min(group) < 0:
                    raise SourceError(f"{place}: label {record.label}, subgroup {record.subgroup}")
                counts[split][group] = counts[split].get(group, 0) + 1
                of_group = samples.setdefault(group, []) if split == sampled else None
                if of_group is not None and len(of_group) < most:
                    of_group.append(record)
                first = first or record
    if first is None:
        raise SourceError(f"{folder}: its files have no records")

    found = sorted({group for of_split in counts.values() for group in of_split})
    dataset = dataset or _named(folder) or _numbered(found, first)
    for group in found:
        try:
            dataset.group_index(*group)
        except ValueError as error:
            raise SourceError(
                f"{folder}: has records of classes {', '.join(dataset.classes)} and subgroups "
                f"{', '.join(dataset.subgroups)} only, by its description, but also of another: {error}"
            ) from None
    rows = [[(label, z) for z in range(dataset.num_subgroups)] for label in range(dataset.num_classes)]
    return Overview(
        dataset,
        {
            split: [[of_split.get(group, 0) for group in row] for row in rows]
            for split, of_split in counts.items()
        },
        [samples.get(group, []) for row in rows for group in row],
    )


def _read(path: Path) -> Iterator[tuple[str, Record]]:
    """The records of a file, and where each was found."""
    for number, serialized in read_records(path):
        place = f"{path}, record {number}"
        try:
            yield place, deserialize(serialized)
        except RecordError as error:
            raise SourceError(f"{place}: {error}") from None


def find_files(folder: Path) -> dict[str, list[Path]]:
    """Record files of each split, the usual splits first.

    Raises:
        SourceError: there are none.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: there is no such folder")
    try:
        folders = {path.name.removeprefix(TFX_SPLIT): path for path in [folder, *sorted(folder.iterdir())]}
        files = {split: sorted(path.glob(RECORD_FILES)) for split, path in folders.items() if path.is_dir()}
    except OSError as error:
        raise SourceError(f"{error.filename}: can't be read: {error.strerror}") from None
    found = {split: paths for split, paths in files.items() if paths}
    if not found:
        raise SourceError(
            f"{folder}: no records there: expected files that end with .gz in {'/, '.join(SPLITS)}/, "
            f"or in {TFX_SPLIT}train/ and so on"
        )
    usual = [split for split in SPLITS if split in found]
    return {split: found[split] for split in [*usual, *sorted(found.keys() - usual)]}


def _named(folder: Path) -> Dataset | None:
    """What the manifest of a built folder says, or that beside a split of one; None where there is none."""
    for place in (folder, folder.resolve().parent):
        path = place / MANIFEST
        if path.is_file():
            try:
                return Dataset.model_validate_json(json.dumps(json.loads(path.read_text())["dataset"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # of something else, or of an earlier version that had no names
    return None


def _numbered(groups: Sequence[Group], record: Record) -> Dataset:
    """As many classes and subgroups as there are records of, named by their numbers; of the shape of one record."""
    image = pixels(record.image, f"record '{record.example_id}'")
    num_classes = max(2, *(label + 1 for label, _ in groups))
    num_subgroups = max(2, *(subgroup + 1 for _, subgroup in groups), len(record.patched_images))
    return Dataset(
        classes=tuple(f"class {number}" for number in range(num_classes)),
        subgroups=tuple(f"subgroup {number}" for number in range(num_subgroups)),
        image_shape=(image.height, image.width, 1 if image.mode == "L" else 3),
    )
