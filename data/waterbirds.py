"""Waterbirds: birds of land and water, photographed before land and water (Sagawa et al. 2020).

Two layouts are read:

- the published records of Goel et al. (2020), `*.tfrec` files of 224 px images,
- the original folder, which other projects use as well: images of many sizes, and `metadata.csv`.

How the published images were brought to 224 px isn't known. Images of another size are scaled as a whole, without
keeping their proportions, since many birds aren't in the middle; the command can also cut them to a square first.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.folder import FolderColumns, FolderSource
from model_patching.data.published_records import PublishedRecords, record_names
from model_patching.data.source import SourceError

if TYPE_CHECKING:
    import tensorflow as tf

NAME = "waterbirds"
CLASSES = ("landbird", "waterbird")
PLACES = ("land", "water")
CITATION = (
    "Waterbirds, Sagawa, Koh, Hashimoto and Liang, Distributionally Robust Neural Networks, 2020; of birds from "
    "Caltech-UCSD Birds-200-2011, Wah et al., 2011, and places from Places, Zhou et al., 2017."
)
LICENCE = "CUB-200-2011 and Places are for non-commercial research and education."
PUBLISHED_SIZE = 224
PUBLISHED_COUNTS = {
    "train": [[3498, 184], [56, 1057]],
    "validation": [[467, 466], [133, 133]],
    "test": [[2255, 2255], [642, 642]],
}
METADATA = "metadata.csv"
METADATA_COLUMNS = FolderColumns(
    image="img_filename",
    label="y",
    subgroup="place",
    split="split",
    classes={str(number): name for number, name in enumerate(CLASSES)},
    subgroups={str(number): name for number, name in enumerate(PLACES)},
    splits={str(number): name for number, name in enumerate(SPLITS)},
)
# Names that the downloads unpack to: a folder that holds one of them will do.
PUBLISHED_FOLDER = "waterbirds_tfrecord_224"
ORIGINAL_FOLDERS = ("waterbird_complete95_forest2water2", "waterbirds_v1.0")


class WaterbirdsRecords(PublishedRecords):
    """Waterbirds from the published records; see `PublishedRecords`."""

    citation, licence = CITATION, LICENCE

    def __init__(self, folder: Path, image_size: int = PUBLISHED_SIZE):
        """Takes the folder of the `*.tfrec` files.

        Raises:
            SourceError: there is none.
        """
        super().__init__(folder)
        self.name = NAME
        self.dataset = Dataset(classes=CLASSES, subgroups=PLACES, image_shape=(image_size, image_size, 3))
        self.takes = {}

    def settings(self) -> dict[str, Any]:
        """What the images are resized to."""
        return {"dataset": NAME, "layout": "records", "image_size": self.dataset.image_shape[0]}

    def group(self, part: str, example: "tf.train.Example") -> tuple[str, int, int]:
        """Split, class and place as the record says."""
        from model_patching.data.schema import RecordError, single_value

        split = single_value(example, "split", "int64_list")
        if not 0 <= split < len(SPLITS):
            raise RecordError(f"split {split} is not 0 (train), 1 (validation) or 2 (test)")
        return (
            SPLITS[split],
            single_value(example, "y", "int64_list"),
            single_value(example, "place", "int64_list"),
        )

    def expected_counts(self) -> dict[str, list[list[int]]]:
        """The published groups."""
        return PUBLISHED_COUNTS


class WaterbirdsFolder(FolderSource):
    """Waterbirds from `metadata.csv` and images; see `FolderSource`."""

    citation, licence = CITATION, LICENCE

    def __init__(self, folder: Path, image_size: int = PUBLISHED_SIZE):
        """Reads the metadata.

        Raises:
            SourceError: it can't be read, lacks a column or has no rows.
        """
        super().__init__(
            folder, folder / METADATA, METADATA_COLUMNS, size=(image_size, image_size), channels=3
        )
        self.name = NAME

    def expected_counts(self) -> dict[str, list[list[int]]]:
        """The published groups."""
        return PUBLISHED_COUNTS


def waterbirds(folder: Path, image_size: int = PUBLISHED_SIZE) -> WaterbirdsRecords | WaterbirdsFolder:
    """The source that a folder holds: the published records, or the original layout.

    Args:
        folder: one of the two, or the folder that it was unpacked in. Where it has both, the records are taken.
        image_size: height and width of the images to be made.

    Raises:
        SourceError: the folder has neither, or `metadata.csv` can't be read.
    """
    for place in (folder, folder / PUBLISHED_FOLDER):
        if record_names(place):
            return WaterbirdsRecords(place, image_size)
    for place in (folder, *(folder / name for name in ORIGINAL_FOLDERS)):
        if (place / METADATA).exists():
            return WaterbirdsFolder(place, image_size)
    raise SourceError(
        f"{folder}: {'no Waterbirds there' if folder.is_dir() else 'no such folder'}: expected *.tfrec files "
        f"({PUBLISHED_FOLDER}), or {METADATA} and images ({ORIGINAL_FOLDERS[0]})"
    )
