"""Reads a published folder of patched images: files `00-10240.tfrec`, `01-10240.tfrec`, … one after the other."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tensorflow as tf

from model_patching.components.published_patches.folders import SUFFIX, PatchesError
from model_patching.components.published_patches.resemblance import thumbnail
from model_patching.data.dataset import IMAGE, LABEL, Dataset
from model_patching.data.record_files import read_examples
from model_patching.data.schema import RecordError, decode_image, single_value
from model_patching.data.source import BadRecord
from model_patching.data.tensorflow_errors import first_line


@dataclass(frozen=True)
class PatchedFolder:
    """What a folder was found to hold.

    Attributes:
        folder: its path.
        shards: path and number of records of each file, in the order in which they were written.
        thumbnails: of the records that were asked for, by their place in the folder.
    """

    folder: str
    shards: tuple[tuple[str, int], ...]
    thumbnails: dict[int, np.ndarray]

    @property
    def count(self) -> int:
        """Records of all files."""
        return sum(count for _, count in self.shards)


def survey(folder: str, label: int, wanted: Collection[int], dataset: Dataset) -> PatchedFolder:
    """Reads a folder to its end.

    Args:
        folder: with the files.
        label: that every record must have.
        wanted: places of the records to make thumbnails of.
        dataset: what the images must be.

    Raises:
        PatchesError: there is no file, or a record isn't what it must be.
        SourceError: a file can't be read to its end.
    """
    shards = []
    thumbnails = {}
    place = 0
    for path in _files(folder):
        first = place
        for number, image, found in _read(path):
            if found != label:
                raise PatchesError(
                    f"{path}, record {number}: label {found}, but the folder is of label {label}, "
                    f"'{dataset.classes[label]}'"
                )
            if place in wanted:
                thumbnails[place] = thumbnail(decode(image, f"{path}, record {number}", dataset))
            place += 1
        shards.append((path, place - first))
    return PatchedFolder(folder, tuple(shards), thumbnails)


def read_images(shards: Sequence[tuple[str, int]], first: int, end: int) -> Iterator[tuple[str, bytes]]:
    """The images from place `first` to before `end` of a folder's files, each with its file and number in words."""
    start = 0
    for path, count in shards:
        here = slice(max(first - start, 0), min(end - start, count))
        if here.start < here.stop:
            for number, image, _ in islice(_read(path), here.start, here.stop):
                yield f"{path}, record {number}", image
        start += count


def decode(image: bytes, place: str, dataset: Dataset) -> tf.Tensor:
    """A patched image, uint8 [H, W, C].

    Raises:
        PatchesError: it can't be decoded, or isn't of the data set's size or number of channels.
    """
    try:
        return decode_image(tf.constant(image), dataset)
    except tf.errors.InvalidArgumentError as error:
        raise PatchesError(f"{place}: bad image: {first_line(error)}") from None


def _files(folder: str) -> list[str]:
    """The files in the order in which they were written: by their number, which isn't always that of the names."""
    names = [name for name in tf.io.gfile.listdir(folder) if name.endswith(SUFFIX)]
    if not names:
        raise PatchesError(f"{folder}: 0 {SUFFIX} files")
    return [f"{folder}/{name}" for name in sorted(names, key=_number)]


def _number(name: str) -> tuple[int, str]:
    digits = re.match(r"\d+", name)
    return int(digits[0]) if digits else -1, name


def _read(path: str) -> Iterator[tuple[int, bytes, int]]:
    """Number, image and label of each record of a file."""
    for number, example in read_examples(path):
        if isinstance(example, BadRecord):
            raise PatchesError(f"{example.place}: {example.reason}")
        try:
            image = single_value(example, IMAGE, "bytes_list")
            label = single_value(example, LABEL, "int64_list")
        except RecordError as error:
            raise PatchesError(f"{path}, record {number}: {error}") from None
        yield number, image, label
