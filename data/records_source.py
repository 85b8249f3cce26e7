"""TFRecords that are there already, whose features have other names or other values than those of this project."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from model_patching.data.checksums import sha256
from model_patching.data.dataset import IMAGE, LABEL, SPLITS, SUBGROUP, Dataset, Name
from model_patching.data.settings import Settings
from model_patching.data.source import BadRecord, Source, SourceError, SourceImage, check_kept

if TYPE_CHECKING:
    import tensorflow as tf

FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
PATTERNS = ("*.tfrecord*", "*.tfrec", "*.tfrec.gz")

Values = tuple[int | str, ...]


class RecordFeatures(Settings):
    """What the features of existing records are called, and what labels and subgroups look like.

    Attributes:
        image: PNG or JPEG bytes.
        label: an integer or a text.
        subgroup: likewise.
        example_id: a text or an integer, unique in its split; null names records by their file and number.
        label_values: what `label` holds for each class, in the order of `dataset.classes`; null where it holds the
            class's name or, counted from 0, its number.
        subgroup_values: likewise.
        keep: further features, each one integer or text, which the records keep; one may be missing in a record.
    """

    image: Name = IMAGE
    label: Name = LABEL
    subgroup: Name = SUBGROUP
    example_id: Name | None = None
    label_values: Values | None = Field(default=None, min_length=2)
    subgroup_values: Values | None = Field(default=None, min_length=2)
    keep: tuple[Name, ...] = ()

    @field_validator("keep")
    @classmethod
    def _names_are_free(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_kept(names)
        return names

    @model_validator(mode="after")
    def _values_differ(self) -> "RecordFeatures":
        for key in ("label_values", "subgroup_values"):
            values = getattr(self, key) or ()
            if len(set(values)) != len(values):
                raise ValueError(f"{key}: the values must differ")
        return self

    def check_dataset(self, dataset: Dataset) -> None:
        """Raises ValueError if there is not a value for each class and subgroup of the data set."""
        for key, values, names in (
            ("label_values", self.label_values, dataset.classes),
            ("subgroup_values", self.subgroup_values, dataset.subgroups),
        ):
            if values is not None and len(values) != len(names):
                raise ValueError(
                    f"features.{key}: there are {len(values)} for the {len(names)} of {', '.join(names)}"
                )


def record_files(folder: str | Path, split: str) -> list[Path]:
    """TFRecord files of a split, sorted by name.

    Raises:
        SourceError: there are none. The message is one line and names the folders that were looked at.
    """
    folders = [Path(folder, name) for name in FOLDERS[split]]
    matches = {path for place in folders for pattern in PATTERNS for path in place.glob(pattern)}
    found = sorted(path for path in matches if not path.name.startswith("."))
    if not found:
        raise SourceError(f"{' and '.join(map(str, folders))}: no files {', '.join(PATTERNS)}")
    return found


class RecordsSource(Source):
    """Existing TFRecords, plain or gzip, in `train/`, `validation/` (or `val/`) and `test/`; a part is a file."""

    takes: dict[tuple[int, int], int] = {}

    def __init__(self, folder: str | Path, features: RecordFeatures, dataset: Dataset):
        """Takes the records of a folder.

        Args:
            folder: holds the folders of the splits.
            features: what they hold.
            dataset: classes, subgroups, and the shape that the images get.
        """
        self.name = Path(folder).name
        self.dataset = dataset
        self._folder = Path(folder)
        self._features = features

    def inputs(self) -> dict[str, Any]:
        """See `Source`."""
        return {
            "source": "records",
            "features": self._features.model_dump(mode="json"),
            "dataset": self.dataset.model_dump(mode="json"),
            "files": {part: sha256(self._folder / part) for part in self.parts()},
        }

    def parts(self) -> list[str]:
        """See `Source`; the files' paths in the folder."""
        return [
            path.relative_to(self._folder).as_posix()
            for split in SPLITS
            for path in record_files(self._folder, split)
        ]

    def survey(self, part: str) -> Iterator[SourceImage | BadRecord]:
        """See `Source`."""
        return self._images(part, with_bytes=False)

    def read(self, part: str) -> Iterator[SourceImage | BadRecord]:
        """See `Source`."""
        return self._images(part, with_bytes=True)

    def _images(self, part: str, with_bytes: bool) -> Iterator[SourceImage | BadRecord]:
        from model_patching.data.record_files import read_examples
        from model_patching.data.schema import RecordError, single_value

        folder = part.partition("/")[0]
        split = next(split for split, folders in FOLDERS.items() if folder in folders)
        path = self._folder / part
        features, dataset = self._features, self.dataset
        for number, example in read_examples(path):
            if isinstance(example, BadRecord):
                yield example
                continue
            place = f"{path}, record {number}"
            try:
                image = single_value(example, features.image, "bytes_list")
                yield SourceImage(
                    split=split,
                    label=_number(example, features.label, features.label_values, dataset.classes),
                    subgroup=_number(example, features.subgroup, features.subgroup_values, dataset.subgroups),
                    example_id=self._example_id(example, path, number),
                    place=place,
                    image=image if with_bytes else b"",
                    further={
                        name: _value(example, name)
                        for name in features.keep
                        if name in example.features.feature
                    },
                )
            except RecordError as error:
                yield BadRecord(place, str(error))

    def _example_id(self, example: "tf.train.Example", path: Path, number: int) -> str:
        if self._features.example_id is not None:
            return str(_value(example, self._features.example_id))
        stem = re.sub(r"\.(tfrecords?|tfrec)(\.gz)?$", "", path.name)
        return f"{stem}-{number:06d}"


def _number(example: "tf.train.Example", name: str, values: Values | None, names: tuple[str, ...]) -> int:
    """What a record's label or subgroup stands for; a number that is too large is for others to find.

    Raises:
        RecordError: the feature is missing, or has none of the values.
    """
    from model_patching.data.schema import RecordError

    value = _value(example, name)
    if values is None and isinstance(value, int):
        return value
    known = names if values is None else values
    if value not in known:
        raise RecordError(f"feature '{name}' is {value!r}, not one of {', '.join(map(repr, known))}")
    return known.index(value)


def _value(example: "tf.train.Example", name: str) -> int | str:
    """The one value of a feature that may be an integer or a text.

    Raises:
        RecordError: the feature is missing, of another type or of another length, or no UTF-8 text.
    """
    from model_patching.data.schema import RecordError, single_value

    if (
        name not in example.features.feature
        or example.features.feature[name].WhichOneof("kind") != "bytes_list"
    ):
        return single_value(example, name, "int64_list")
    value = single_value(example, name, "bytes_list")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RecordError(f"feature '{name}' is not UTF-8 text: {value!r}") from None
