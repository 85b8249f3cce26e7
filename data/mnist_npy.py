"""MNIST-Correlation from the released archive of numpy arrays, `mnist_correlation_npy.zip`.

Nothing is published about what the archive holds but that it is numpy's `.npy`. So arrays are found by their names, and
a folder that they can't be found in is told with everything that it has. Wanted are three arrays for each split, in any
folder below the one that is given:

| array    | words of its file's name                                            | content                      |
|----------|---------------------------------------------------------------------|------------------------------|
| images   | `images`, `image`, `x`                                              | uint8 [n, 28, 28] or […, 1]  |
| class    | `labels`, `label`, `y`                                              | digits, or their parity      |
| subgroup | `subgroups`, `subgroup`, `corruptions`, `corruption`, `zigzag`, `z` | 0 clean, 1 with a zigzag     |

The split is a word of the name, or of a folder: `train`; `val`, `valid` or `validation`; `test`. So `train_images.npy`,
`train_y.npy` and `train/z.npy` will do. Words are what other signs than letters and digits part.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model_patching.data import mnist_correlation
from model_patching.data.checksums import sha256
from model_patching.data.corruptions import SIDE
from model_patching.data.dataset import SPLITS
from model_patching.data.mnist_correlation import MnistCorrelationSettings
from model_patching.data.source import Source, SourceError, SourceImage

SPLIT_WORDS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
IMAGES, CLASS, SUBGROUP = "images", "class", "subgroup"
ARRAY_WORDS = {
    IMAGES: ("images", "image", "x"),
    CLASS: ("labels", "label", "y"),
    SUBGROUP: ("subgroups", "subgroup", "corruptions", "corruption", "zigzag", "z"),
}
MOST_SHOWN = 20  # files in an error


class MnistNpy(Source):
    """The released arrays of MNIST-Correlation; see this module's text for what they must be."""

    citation, licence = mnist_correlation.CITATION, mnist_correlation.LICENCE

    def __init__(self, folder: Path):
        """Finds the arrays and reads all but the images.

        Raises:
            SourceError: an array is missing, can't be read or has another shape than the others of its split, or a
                label is no digit.
        """
        self.name = mnist_correlation.NAME
        self.dataset = mnist_correlation.dataset(MnistCorrelationSettings())
        self.takes = {}
        self._folder = folder
        self._names = _find(folder)
        self._labels, self._subgroups = {}, {}
        for split in SPLITS:
            count = len(self._images(split))
            digits = self._numbers(split, CLASS, count)
            wrong = digits[(digits < 0) | (digits > 9)]
            if wrong.size:
                path = folder / self._names[split][CLASS]
                raise SourceError(
                    f"{path}: has {wrong[0]}; labels are digits, 0 to 9, or their parity, 0 and 1"
                )
            self._labels[split] = digits % len(self.dataset.classes)
            self._subgroups[split] = self._numbers(split, SUBGROUP, count)

    def inputs(self) -> dict[str, Any]:
        """The checksum of each array."""
        names = sorted(name for names in self._names.values() for name in names.values())
        return {
            "dataset": self.name,
            "layout": "npy",
            "files": {name: sha256(self._folder / name) for name in names},
        }

    def parts(self) -> list[str]:
        """One for each split."""
        return list(SPLITS)

    def survey(self, part: str) -> Iterator[SourceImage]:
        """The images of a split, without their bytes."""
        images = self._folder / self._names[part][IMAGES]
        groups = zip(self._labels[part].tolist(), self._subgroups[part].tolist(), strict=True)
        for number, (label, subgroup) in enumerate(groups):
            example_id = f"mnist_correlation-{part}-{number:08d}"
            yield SourceImage(part, label, subgroup, example_id, f"{images}, record {number}")

    def read(self, part: str) -> Iterator[SourceImage]:
        """The images of a split, as PNG."""
        for image, pixels in zip(self.survey(part), self._images(part), strict=True):
            buffer = io.BytesIO()
            Image.fromarray(pixels.reshape(SIDE, SIDE)).save(buffer, "PNG")
            yield replace(image, image=buffer.getvalue())

    def _images(self, split: str) -> np.ndarray:
        """Mapped into memory, not read."""
        path = self._folder / self._names[split][IMAGES]
        images = _load(path)
        if images.dtype != np.uint8 or images.shape[1:] not in ((SIDE, SIDE), (SIDE, SIDE, 1)):
            raise SourceError(
                f"{path}: expected images, uint8 [n, {SIDE}, {SIDE}], found {_described(images)}"
            )
        return images

    def _numbers(self, split: str, array: str, count: int) -> np.ndarray:
        path = self._folder / self._names[split][array]
        numbers = _load(path)
        if not np.issubdtype(numbers.dtype, np.integer) or numbers.size != count:
            raise SourceError(
                f"{path}: expected a whole number for each of {count} images, found {_described(numbers)}"
            )
        return np.array(numbers).ravel()


def _find(folder: Path) -> dict[str, dict[str, str]]:
    """Relative path of each array of each split."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.npy"))
    names: dict[str, dict[str, str]] = {}
    for split, split_words in SPLIT_WORDS.items():
        for array, array_words in ARRAY_WORDS.items():
            fitting = [
                name
                for name in found
                if _has_one_of(split_words, name) and _has_one_of(array_words, name.rpartition("/")[2])
            ]
            if len(fitting) != 1:
                arrays = [f"{name} ({_described(_load(folder / name))})" for name in found[:MOST_SHOWN]]
                more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
                raise SourceError(
                    f"{folder}: {', '.join(fitting) or 'no array'} could be the {array} of {split}; "
                    f"name one {split}_{array_words[0]}.npy; found {', '.join(arrays) or 'no .npy file'}{more}"
                )
            names.setdefault(split, {})[array] = fitting[0]
    return names


def _has_one_of(words: tuple[str, ...], name: str) -> bool:
    return not set(words).isdisjoint(re.split(r"[^a-z0-9]+", name.removesuffix(".npy").lower()))


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: can't be read as an array: {' '.join(str(error).split())}") from None


def _described(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
