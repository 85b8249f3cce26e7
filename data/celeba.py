"""CelebA: faces with 40 attributes, one of which is the class and another the subgroup (Liu et al. 2015).

CelebA-Undersampled (Goel et al. 2020) is hair × sex: of the 71,629 training images of women who aren't blond 4,054 are
kept, so that sex predicts the colour of the hair. Two layouts are read:

- the published records, `train/`, `val/` and `test/` with `*.tfrec` files of 128 px images and their attributes,
- CelebA as its makers publish it, 178 × 218 px: `img_align_celeba/`, `list_attr_celeba.txt` and
  `list_eval_partition.txt`.

How the published images were brought to 128 px isn't known. Of an image of another size the middle square is scaled,
unless the command is told otherwise.
"""

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_patching.data.dataset import Dataset
from model_patching.data.listed_images import ListedImages, Row
from model_patching.data.published_records import PublishedRecords, record_names
from model_patching.data.source import BadRecord, SourceError

if TYPE_CHECKING:
    import tensorflow as tf

NAME = "celeba_undersampled"
CITATION = (
    "CelebA, Liu, Luo, Wang and Tang, Deep Learning Face Attributes in the Wild, 2015; undersampled after Goel, Gu, Li "
    "and Ré, Model Patching, 2020."
)
LICENCE = "CelebA is for non-commercial research."
PUBLISHED_FOLDER = "celeba_tfrecord_128"
FOLDERS = {"train": "train", "val": "validation", "test": "test"}  # of the published records, and their split
IMAGES, ATTRIBUTE_LIST, PARTITION_LIST = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
PARTITIONS = {"0": "train", "1": "validation", "2": "test"}
PRESENT = {"-1": 0, "0": 0, "1": 1}

ATTRIBUTES = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)
# What an attribute's absence and presence are called, where "not …" and the attribute itself would read badly.
NAMES = {
    "Blond_Hair": ("not blond", "blond"),
    "Male": ("female", "male"),
    "No_Beard": ("beard", "no beard"),
}
PUBLISHED_PAIR = ("Blond_Hair", "Male")
PUBLISHED_TAKES = {(0, 0): 4054}
PUBLISHED_SIZE = 128
# Groups of the published pair before training images are left out.
PUBLISHED_COUNTS = {
    "train": [[71629, 66874], [22880, 1387]],
    "validation": [[8535, 8276], [2874, 182]],
    "test": [[9767, 7535], [2480, 180]],
}


@dataclass(frozen=True)
class Task:
    """What is made of CelebA. The defaults give CelebA-Undersampled.

    Attributes:
        label: the attribute that is the class.
        subgroup: the attribute that is the subgroup.
        takes: images of a group of the training split, at most, by (label, subgroup); None takes the published 4,054 of
            (0, 0) with the published attributes, and all with others.
        image_size: height and width of the images to be made.
        keep: further attributes that the records get, 0 or 1.
    """

    label: str = PUBLISHED_PAIR[0]
    subgroup: str = PUBLISHED_PAIR[1]
    takes: Mapping[tuple[int, int], int] | None = None
    image_size: int = PUBLISHED_SIZE
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the attributes.

        Raises:
            SourceError: CelebA doesn't have one, or both are the same.
        """
        for attribute in self.attributes:
            if attribute not in ATTRIBUTES:
                raise SourceError(f"CelebA has no attribute '{attribute}': {_alternatives(attribute)}")
        if self.label == self.subgroup:
            raise SourceError(f"class and subgroup are both '{self.label}': give two attributes")

    @property
    def attributes(self) -> tuple[str, ...]:
        """All that are read: class, subgroup, and those that are kept."""
        return self.label, self.subgroup, *self.keep

    @property
    def dataset(self) -> Dataset:
        """Classes and subgroups named for the attributes, and the images' shape."""
        return Dataset(
            classes=_names(self.label),
            subgroups=_names(self.subgroup),
            image_shape=(self.image_size, self.image_size, 3),
        )

    @property
    def taken(self) -> dict[tuple[int, int], int]:
        """`takes`, the published ones where none are given."""
        if self.takes is not None:
            return dict(self.takes)
        return dict(PUBLISHED_TAKES) if self._is_published_pair else {}

    def settings(self, layout: str) -> dict[str, Any]:
        """Everything but the files, as JSON values."""
        return {
            "dataset": NAME,
            "layout": layout,
            "label": self.label,
            "subgroup": self.subgroup,
            "takes": {f"{label},{subgroup}": most for (label, subgroup), most in sorted(self.taken.items())},
            "image_size": self.image_size,
            **({"keep": list(self.keep)} if self.keep else {}),
        }

    def expected_counts(self) -> dict[str, list[list[int]]] | None:
        """The published groups, where the attributes are the published ones."""
        if not self._is_published_pair:
            return None
        counts = copy.deepcopy(PUBLISHED_COUNTS)
        for (label, subgroup), most in self.taken.items():
            counts["train"][label][subgroup] = min(counts["train"][label][subgroup], most)
        return counts

    @property
    def _is_published_pair(self) -> bool:
        return (self.label, self.subgroup) == PUBLISHED_PAIR


class CelebaRecords(PublishedRecords):
    """CelebA from the published records; see `PublishedRecords`."""

    citation, licence = CITATION, LICENCE

    def __init__(self, folder: Path, task: Task):
        """Takes the folder of the splits' folders.

        Raises:
            SourceError: a split has no `*.tfrec` file.
        """
        super().__init__(folder, tuple(FOLDERS))
        self._task = task
        self.name = NAME
        self.dataset = task.dataset
        self.takes = task.taken

    def settings(self) -> dict[str, Any]:
        """The attributes, and what is taken of each group."""
        return self._task.settings("records")

    def group(self, part: str, example: "tf.train.Example") -> tuple[str, int, int]:
        """The split by the folder, class and subgroup by the attributes."""
        from model_patching.data.schema import single_value

        label, subgroup = (
            _presence(single_value(example, name, "int64_list"))
            for name in (self._task.label, self._task.subgroup)
        )
        return FOLDERS[part.split("/")[0]], label, subgroup

    def further(self, example: "tf.train.Example") -> dict[str, int | str]:
        """The attributes that are kept."""
        from model_patching.data.schema import single_value

        return {name: _presence(single_value(example, name, "int64_list")) for name in self._task.keep}

    def expected_counts(self) -> dict[str, list[list[int]]] | None:
        """The published groups, where the attributes are the published ones."""
        return self._task.expected_counts()


class CelebaFolder(ListedImages):
    """CelebA from its makers' lists and images."""

    citation, licence = CITATION, LICENCE

    def __init__(self, folder: Path, task: Task):
        """Reads the lists.

        Raises:
            SourceError: there are no images, a list can't be read or isn't whole, or they disagree.
        """
        if not (folder / IMAGES).is_dir():
            raise SourceError(f"{folder / IMAGES}: no such folder: it should hold the images")
        self._task = task
        self._images = folder / IMAGES
        self._list = str(folder / ATTRIBUTE_LIST)
        self._other_lists = (str(folder / PARTITION_LIST),)
        self._rows = _read_lists(folder / ATTRIBUTE_LIST, folder / PARTITION_LIST, task)
        self.name = NAME
        self.dataset = task.dataset
        self.takes = task.taken

    def settings(self) -> dict[str, Any]:
        """The attributes, and what is taken of each group."""
        return self._task.settings("folder")

    def expected_counts(self) -> dict[str, list[list[int]]] | None:
        """The published groups, where the attributes are the published ones."""
        return self._task.expected_counts()


def celeba(folder: Path, task: Task) -> CelebaRecords | CelebaFolder:
    """The source that a folder holds: the published records, or the layout of CelebA's makers.

    Args:
        folder: one of the two, or the folder that the records were unpacked in. Where it has both, the records are
            taken.
        task: what is made of it.

    Raises:
        SourceError: the folder has neither, or lacks some of what it should have.
    """
    for place in (folder, folder / PUBLISHED_FOLDER):
        if any(record_names(place / split) for split in FOLDERS):
            return CelebaRecords(place, task)
    if (folder / ATTRIBUTE_LIST).exists():
        return CelebaFolder(folder, task)
    raise SourceError(
        f"{folder}: {'no CelebA there' if folder.is_dir() else 'no such folder'}: expected {'/, '.join(FOLDERS)}/ with "
        f"*.tfrec files ({PUBLISHED_FOLDER}), or {IMAGES}/, {ATTRIBUTE_LIST} and {PARTITION_LIST}"
    )


def _names(attribute: str) -> tuple[str, str]:
    """What an attribute's absence and presence are called: "not wavy hair" and "wavy hair"."""
    name = attribute.replace("_", " ").lower()
    return NAMES.get(attribute, (f"not {name}", name))


def _presence(value: int) -> int:
    """0 or 1, as published. CelebA's own lists have -1 for 0, and so may records that others have made of them."""
    return 0 if value == -1 else value


def _alternatives(attribute: str) -> str:
    """Attributes with a similar name; all of them where none is similar."""
    by_lower = {name.lower(): name for name in ATTRIBUTES}
    similar = [by_lower[name] for name in difflib.get_close_matches(attribute.lower(), by_lower)]
    if not similar:
        return f"it has {', '.join(ATTRIBUTES)}"
    return f"did you mean {' or '.join(similar)}?"


def _read_lists(attribute_list: Path, partition_list: Path, task: Task) -> list[Row | BadRecord]:
    """The rows of the lists, which name the same images in the same order; what is wrong in place of a bad one.

    Raises:
        SourceError: a list can't be read or isn't whole, lacks an attribute, or they disagree on the images.
    """
    lines = _lines(attribute_list)
    count, header = " ".join(next(lines, ())), next(lines, ())
    missing = [name for name in task.attributes if name not in header]
    if missing:
        raise SourceError(f"{attribute_list}: its second line names no attribute {', '.join(missing)}")
    # 200,000 lines of 40 attributes: only a few of each are kept.
    faces = [(fields[0], _presences(fields[1:], header, task)) for fields in lines]
    if count != str(len(faces)):
        raise SourceError(f"{attribute_list}: {len(faces)} rows of images, but its first line says {count}")
    if not faces:
        raise SourceError(f"{attribute_list}: no rows of images")
    partitions = list(_lines(partition_list))
    if len(partitions) != len(faces):
        raise SourceError(f"{partition_list}: {len(partitions)} rows, but {attribute_list} has {len(faces)}")
    rows: list[Row | BadRecord] = []
    for number, ((file, found), (partitioned, *partition)) in enumerate(
        zip(faces, partitions, strict=True), 1
    ):
        if partitioned != file:
            raise SourceError(
                f"{partition_list}, row {number}: {partitioned}, but {attribute_list} has {file} in this row"
            )
        place = f"{attribute_list}, row {number}"
        split = PARTITIONS.get(" ".join(partition))
        if split is None:
            reason = f"{file} is of partition '{' '.join(partition)}' in {partition_list}: expected 0, 1 or 2"
            rows.append(BadRecord(place, reason))
        elif isinstance(found, str):
            rows.append(BadRecord(place, f"{file} {found}"))
        else:
            label, subgroup, *kept = found
            rows.append(Row(number, file, label, subgroup, split, tuple(zip(task.keep, kept, strict=True))))
    return rows


def _presences(values: Sequence[str], header: Sequence[str], task: Task) -> list[int] | str:
    """Label, subgroup and what is kept of an image, or what is wrong with its attributes."""
    if len(values) != len(header):
        return f"has {len(values)} attributes, but {len(header)} are named"
    found = [values[header.index(name)] for name in task.attributes]
    for name, value in zip(task.attributes, found, strict=True):
        if value not in PRESENT:
            return f"has {value} for {name}: expected 1 or -1"
    return [PRESENT[value] for value in found]


def _lines(path: Path) -> Iterator[list[str]]:
    """The fields of each line of a list, empty lines left out.

    Raises:
        SourceError: it can't be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from filter(None, map(str.split, file))
    except OSError as error:
        raise SourceError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
