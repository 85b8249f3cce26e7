"""A user's own images: a folder of PNG or JPEG files, and a CSV file with a row for each."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from model_patching.data.csv_rows import read_header, read_rows
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.id_hash import id_hash
from model_patching.data.listed_images import ListedImages, Row
from model_patching.data.orientation import ON_ITS_SIDE, orientation
from model_patching.data.source import BadRecord, SourceError, check_kept

IMAGE_COLUMNS = ("filename", "file", "path", "image")  # looked for in this order
SPLIT_VALUES = {
    **dict.fromkeys(("train", "training", "0"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "1"), "validation"),
    **dict.fromkeys(("test", "2"), "test"),
}
GREY_MODES = ("1", "L", "LA", "I", "I;16")  # as PIL calls them; TensorFlow decodes the others to colour


@dataclass(frozen=True)
class FolderColumns:
    """What the columns of the CSV file are, and what their values mean.

    Attributes:
        label: column of the class.
        subgroup: column of the subgroup.
        split: column of the split; None to draw the splits.
        image: column of the image's path in the folder; None for the first of IMAGE_COLUMNS that there is.
        classes: name of the class by the value in the column, in the order of the labels. None takes every value that
            comes, in alphabetical order, or by size where all are whole numbers.
        subgroups: the same of the subgroups.
        splits: the split by the value in its column; None for SPLIT_VALUES, in lower or upper case.
        shares: where `split` is None, the share of each group that goes to each split.
        keep: further columns, whose texts the records get as features of their names; an empty one is left out.
    """

    label: str
    subgroup: str
    split: str | None
    image: str | None = None
    classes: Mapping[str, str] | None = None
    subgroups: Mapping[str, str] | None = None
    splits: Mapping[str, str] | None = None
    shares: tuple[float, float, float] | None = None
    keep: tuple[str, ...] = ()


class FolderSource(ListedImages):
    """Images of a folder, described by a CSV file. An image's id is its path in the folder."""

    def __init__(
        self,
        images: str | Path,
        csv_file: str | Path,
        columns: FolderColumns,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        channels: int | None = None,
    ):
        """Reads the CSV file.

        Args:
            images: the folder.
            csv_file: UTF-8, with a header and commas.
            columns: what its columns are.
            seed: draws the splits where no column has them.
            size: height and width of the records' images; None for those of the first image.
            channels: 1 (grey) or 3 (colour); None for those of the first image.

        Raises:
            SourceError: the folder or the CSV file can't be read, a column is missing, or there aren't two classes and
                two subgroups. A row that can't be used is no error yet, but a `BadRecord` of its part.
        """
        self._images = Path(images)
        self._list = str(csv_file)
        self.name = self._images.resolve().name
        self.takes = {}
        try:
            os.scandir(self._images).close()
        except OSError as error:
            raise SourceError(f"{images}: can't be read: {error.strerror}") from None
        check_kept(columns.keep)
        header = read_header(csv_file)
        image = columns.image or next((name for name in IMAGE_COLUMNS if name in header), None)
        if image is None:
            raise SourceError(
                f"{csv_file}: has no column {', '.join(IMAGE_COLUMNS)}; say with --image-column which of its columns "
                f"has the images' paths: {', '.join(header)}"
            )
        wanted = [column for column in (image, columns.label, columns.subgroup, columns.split) if column]
        wanted += columns.keep
        table = list(read_rows(csv_file, wanted))
        if not table:
            raise SourceError(f"{csv_file}: has no rows besides the header")
        classes = columns.classes or self._values(table, columns.label, "classes")
        subgroups = columns.subgroups or self._values(table, columns.subgroup, "subgroups")
        meanings = [(columns.label, _numbers(classes)), (columns.subgroup, _numbers(subgroups))]
        if columns.split is not None:
            meanings.append((columns.split, columns.splits or _in_any_case(SPLIT_VALUES)))
        self._rows = self._without_repeats(
            [self._read_row(row, fields, image, meanings, columns.keep) for row, fields in table]
        )
        if columns.split is None:
            self._draw_splits(columns.shares, seed)
        if size is None or channels is None:
            found_size, found_channels = self._first_image()
            size, channels = size or found_size, channels or found_channels
        self.dataset = Dataset(
            classes=tuple(dict.fromkeys(classes.values())),
            subgroups=tuple(dict.fromkeys(subgroups.values())),
            image_shape=(*size, channels),
        )
        meaning = {**asdict(columns), "image": image}
        # As the manifest has them, where they are found again.
        lists = {name: list(value) for name, value in meaning.items() if isinstance(value, tuple)}
        self._settings = {"columns": meaning | lists, "seed": seed}

    def settings(self) -> dict[str, Any]:
        """What the columns mean, and what the images become."""
        return {"reader": "folder", **self._settings, "dataset": self.dataset.model_dump(mode="json")}

    def _values(
        self, table: Sequence[tuple[int, dict[str, str] | BadRecord]], column: str, what: str
    ) -> dict[str, str]:
        """The values that a column has, in their order, each its own name."""
        values = {fields[column] for _, fields in table if isinstance(fields, dict)} - {""}
        if len(values) < 2:
            found = f"only {next(iter(values))!r}" if values else "nothing"
            raise SourceError(f"{self._list}: column '{column}' has {found}; at least two {what} are needed")
        numeric = all(_is_whole(value) for value in values)
        return {
            value: value for value in sorted(values, key=lambda value: (int(value) if numeric else 0, value))
        }

    def _read_row(
        self,
        row: int,
        fields: dict[str, str] | BadRecord,
        image: str,
        meanings: Sequence[tuple[str, Mapping[str, Any]]],
        keep: Sequence[str],
    ) -> Row | BadRecord:
        """What a row says, or why it can't be used.

        Args:
            row: its number.
            fields: by column.
            image: column of the image's path.
            meanings: column of label, subgroup and split, and what its values mean; without the split where it is to
                be drawn.
            keep: columns that are kept.
        """
        if isinstance(fields, BadRecord):
            return fields
        place = f"{self._list}, row {row}"
        if not fields[image] or "\0" in fields[image]:
            return BadRecord(place, f"column '{image}' has no path of an image")
        path = _path_in(self._images, fields[image])
        if path is None:
            return BadRecord(place, f"{fields[image]!r} leads out of the folder {self._images}")
        for column, of_values in meanings:
            if fields[column] not in of_values:
                known = ", ".join(repr(value) for value in of_values)
                return BadRecord(place, f"column '{column}' has {fields[column]!r}, which is none of {known}")
        found = [of_values[fields[column]] for column, of_values in meanings]
        further = tuple((column, fields[column]) for column in keep if fields[column])
        return Row(row, path, *found, further=further)

    def _without_repeats(self, rows: Sequence[Row | BadRecord]) -> list[Row | BadRecord]:
        """The rows, bad where an image was in a row before: it could be in the training and the test split."""
        first: dict[str, int] = {}
        for row in rows:
            if isinstance(row, Row):
                first.setdefault(row.image, row.row)
        return [
            BadRecord(self._place(row), f"{row.image!r} was in row {first[row.image]} already")
            if isinstance(row, Row) and first[row.image] != row.row
            else row
            for row in rows
        ]

    def _draw_splits(self, shares: tuple[float, float, float], seed: int) -> None:
        """Shares every group out among the splits, by a hash of seed and path."""
        places: dict[tuple[int, int], list[int]] = {}
        for place, row in enumerate(self._rows):
            if isinstance(row, Row):
                places.setdefault((row.label, row.subgroup), []).append(place)
        for of_group in places.values():
            of_group.sort(key=lambda place: id_hash(f"{seed} split {self._rows[place].image}"))
            ends = [round(len(of_group) * sum(shares[: number + 1])) for number in range(len(SPLITS))]
            for number, place in enumerate(of_group):
                split = next(split for split, end in zip(SPLITS, ends, strict=True) if number < end)
                self._rows[place] = self._rows[place]._replace(split=split)

    def _first_image(self) -> tuple[tuple[int, int], int]:
        """Height and width, and channels, of the first image that can be opened."""
        for row in self._rows:
            if isinstance(row, Row):
                try:
                    path = self._images / row.image
                    with Image.open(path) as image:
                        size, channels = (image.height, image.width), 1 if image.mode in GREY_MODES else 3
                    return size[::-1] if orientation(path) in ON_ITS_SIDE else size, channels
                except (OSError, Image.DecompressionBombError):
                    continue
        reasons = Counter(row.reason for row in self._rows if isinstance(row, BadRecord))
        why = f": {reasons.most_common(1)[0][0]}" if reasons else f" in {self._images}"
        raise SourceError(f"{self._list}: no row has an image that can be opened{why}")


def _path_in(folder: Path, path: str) -> str | None:
    """A path relative to a folder, of one that is so already or is absolute; None where it leads out of the folder."""
    if not os.path.isabs(path):
        relative = os.path.normpath(path)
        return None if _leads_out(relative) else relative
    for form in (
        os.path.abspath,
        os.path.realpath,
    ):  # as it is written, or with the links on the way followed
        relative = os.path.relpath(form(path), form(folder))
        if not _leads_out(relative):
            return relative
    return None


def _leads_out(relative: str) -> bool:
    return relative.split(os.sep)[0] == os.pardir


def _numbers(names: Mapping[str, str]) -> dict[str, int]:
    """Number of each value's name."""
    order = list(dict.fromkeys(names.values()))
    return {value: order.index(name) for value, name in names.items()}


def _in_any_case(values: Mapping[str, str]) -> dict[str, str]:
    """The same values in lower case, capitalized and in upper case too."""
    forms = (str.lower, str.capitalize, str.upper)
    return {form(value): meaning for form in forms for value, meaning in values.items()}


def _is_whole(value: str) -> bool:
    try:
        int(value)
    except ValueError:
        return False
    return True
