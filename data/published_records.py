"""TFRecord files as Goel et al. (2020) publish them: `*.tfrec`, whose order published patched images are tied to."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from model_patching.data.checksums import sha256
from model_patching.data.source import BadRecord, Source, SourceError, SourceImage
from model_patching.data.source_order import record_id

if TYPE_CHECKING:
    import tensorflow as tf

SUFFIX = ".tfrec"


class PublishedRecords(Source):
    """The images of `*.tfrec` files; a part is a file.

    An image's id is `record_id` of its file and number.
    """

    keeps_order: ClassVar[bool] = True

    def __init__(self, root: Path, folders: tuple[str, ...] = (".",)):
        """Takes the files of some folders.

        Args:
            root: the folder that holds it all.
            folders: those that the files lie in, relative to `root`.

        Raises:
            SourceError: there is no file in one of the folders.
        """
        self._root = root
        self._parts = []
        for folder in folders:
            names = [f"{folder}/{name}".removeprefix("./") for name in record_names(root / folder)]
            if not names:
                raise SourceError(f"{root / folder}: no {SUFFIX} files")
            self._parts += names

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides how the files are read, as JSON values."""

    @abstractmethod
    def group(self, part: str, example: "tf.train.Example") -> tuple[str, int, int]:
        """Split, label and subgroup of a record.

        Raises:
            RecordError: a feature is missing or can't be right.
        """

    def further(self, example: "tf.train.Example") -> dict[str, int | str]:
        """What a record gets besides.

        Raises:
            RecordError: a feature is missing or can't be right.
        """
        return {}

    def inputs(self) -> dict[str, Any]:
        """The settings and each file's SHA-256."""
        return {**self.settings(), "files": {part: sha256(self._root / part) for part in self._parts}}

    def parts(self) -> list[str]:
        """The files' names, sorted within each folder, as the published code reads them."""
        return list(self._parts)

    def survey(self, part: str) -> Iterator[SourceImage | BadRecord]:
        """The records of a file without their images; it has to be read all the same."""
        for found in self.read(part):
            yield replace(found, image=b"") if isinstance(found, SourceImage) else found

    def read(self, part: str) -> Iterator[SourceImage | BadRecord]:
        """The records of a file."""
        from model_patching.data.record_files import read_examples  # here and not above: loads TensorFlow
        from model_patching.data.schema import RecordError, single_value

        path = self._root / part
        for number, example in read_examples(path):
            place = f"{path}, record {number}"
            if isinstance(example, BadRecord):
                yield example
                continue
            try:
                split, label, subgroup = self.group(part, example)
                image = single_value(example, "image", "bytes_list")
                further = self.further(example)
            except RecordError as error:
                yield BadRecord(place, str(error))
                continue
            yield SourceImage(split, label, subgroup, record_id(part, number), place, image, further)


def record_names(folder: Path) -> list[str]:
    """Names of the `*.tfrec` files of a folder, sorted; none where there is no such folder.

    Raises:
        SourceError: the folder can't be read.
    """
    try:
        return sorted(path.name for path in folder.iterdir() if path.suffix == SUFFIX)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SourceError(f"{folder}: can't be read: {error.strerror}") from None
