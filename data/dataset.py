"""What a data set is: its classes, subgroups and image shape, and the names that its records and files carry.

Plain Python: the configuration is checked against this before TensorFlow is imported.
"""

from typing import Annotated

from pydantic import Field, field_validator

from model_patching.data.settings import Settings

IMAGE = "image"
LABEL = "label"
SUBGROUP = "subgroup"
EXAMPLE_ID = "example_id"
PATCHED_IMAGES = "patched_images"
RECORD_FEATURES = frozenset((IMAGE, LABEL, SUBGROUP, EXAMPLE_ID, PATCHED_IMAGES))

SPLITS = ("train", "validation", "test")

Name = Annotated[str, Field(min_length=1)]
Side = Annotated[int, Field(ge=1)]


class Groups(Settings):
    """The groups that examples fall into: pairs (label, subgroup), numbered row by row.

    The group (label, subgroup) is number `label * num_subgroups + subgroup`.

    Attributes:
        classes: names of the classes, C of them; entry y names label y.
        subgroups: names of the subgroups, K of them; entry z names subgroup z.
    """

    classes: tuple[Name, ...] = Field(min_length=1)
    subgroups: tuple[Name, ...] = Field(min_length=1)

    @field_validator("classes", "subgroups")
    @classmethod
    def _names_differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError(f"the names must differ, got {', '.join(names)}")
        return names

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.classes)

    @property
    def num_subgroups(self) -> int:
        """K, the number of subgroups of each class."""
        return len(self.subgroups)

    @property
    def num_groups(self) -> int:
        """C * K."""
        return self.num_classes * self.num_subgroups

    @property
    def group_names(self) -> tuple[str, ...]:
        """Name of each group in the order of `group_index`, for example "even / zigzag"."""
        return tuple(f"{label} / {subgroup}" for label in self.classes for subgroup in self.subgroups)

    def group_index(self, label: int, subgroup: int) -> int:
        """Number of the group (label, subgroup).

        Raises:
            ValueError: the label or the subgroup isn't one of this data set's.
        """
        if not 0 <= label < self.num_classes:
            raise ValueError(f"label {label} is not between 0 and {self.num_classes - 1}")
        if not 0 <= subgroup < self.num_subgroups:
            raise ValueError(f"subgroup {subgroup} is not between 0 and {self.num_subgroups - 1}")
        return label * self.num_subgroups + subgroup


class Dataset(Groups):
    """Describes the records of one data set.

    Attributes:
        classes, subgroups: see `Groups`; at least two of each.
        image_shape: height, width and channels of every image; 1 channel (grey) or 3 (RGB).
    """

    classes: tuple[Name, ...] = Field(min_length=2)
    subgroups: tuple[Name, ...] = Field(min_length=2)
    image_shape: tuple[Side, Side, Side]

    @field_validator("image_shape")
    @classmethod
    def _grey_or_rgb(cls, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        if shape[2] not in (1, 3):
            raise ValueError(f"the last entry is the number of channels, 1 (grey) or 3 (RGB), got {shape[2]}")
        return shape
