"""What a source of images is: what the reader of each data set gives, and what `convert.py` makes records of.

Plain Python: the command line describes a source before TensorFlow is imported.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from model_patching.data.dataset import RECORD_FEATURES, Dataset


class SourceError(ValueError):
    """A source can't be read, as a whole or one of its files. The message is one line and names the file."""


@dataclass(frozen=True)
class SourceImage:
    """One image of a source.

    Attributes:
        split: "train", "validation" or "test".
        label: class y.
        subgroup: subgroup z.
        example_id: stable and unique in its split.
        place: where it was found, for messages: "FILE, record 12" (from 0) or "FILE, row 12" (from 1, the header left
            out).
        image: PNG or JPEG bytes as found; empty in a survey.
        further: features that the record gets besides, by name; may be empty in a survey.
    """

    split: str
    label: int
    subgroup: int
    example_id: str
    place: str
    image: bytes = b""
    further: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class BadRecord:
    """A record or row that gives no image; the ones after it can still be read."""

    place: str
    reason: str


def check_kept(names: Sequence[str]) -> None:
    """Raises SourceError if a feature that is to be kept has the name of one that every record has."""
    for name in names:
        if name in RECORD_FEATURES:
            raise SourceError(f"'{name}' can't be kept: it is the name of a feature that every record has")


class Source(ABC):
    """The images of one data set. It is pickled: Beam's workers each read some of its parts.

    Attributes:
        name: of the data set, for manifest and messages.
        dataset: classes, subgroups, and the shape that the images get.
        takes: images of a group of the training split, at most, by (label, subgroup); they are drawn by the seed.
        citation, licence: whose images they are, and what may be done with them; None where nobody says.
        keeps_order: whether the order of the files' records must be known later on, since published patched images are
            tied to it. A part is then one file, and its records' groups are kept in `source_order.npz`.
    """

    name: str
    dataset: Dataset
    takes: dict[tuple[int, int], int]
    citation: ClassVar[str | None] = None
    licence: ClassVar[str | None] = None
    keeps_order: ClassVar[bool] = False

    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """Everything that decides what is read, as JSON values: the settings, and each file's SHA-256 under `files`.

        Raises:
            SourceError: a file is missing or can't be read.
        """

    @abstractmethod
    def parts(self) -> list[str]:
        """Names of the pieces that are read one by one, files as a rule; always in the same order.

        Raises:
            SourceError: there are none.
        """

    @abstractmethod
    def survey(self, part: str) -> Iterator[SourceImage | BadRecord]:
        """The images of a part, in its order, without their bytes where that is cheaper.

        Raises:
            SourceError: the part can't be read to its end.
        """

    @abstractmethod
    def read(self, part: str) -> Iterator[SourceImage | BadRecord]:
        """The images of a part, in its order, with their bytes.

        Raises:
            SourceError: the part can't be read to its end.
        """

    def expected_counts(self) -> dict[str, list[list[int]]] | None:
        """Published sizes of the groups of each split, [C][K], `takes` applied; None where none are published."""
        return None
