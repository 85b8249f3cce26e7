"""MNIST's digits and MNIST-C's corrupted ones as `tensorflow_datasets` has them: `mnist` and `mnist_corrupted/…`."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from model_patching.data.corruptions import SIDE
from model_patching.data.mnist_correlation import MnistCorrelationSettings
from model_patching.data.mnist_digits import Digits, DigitsError

# Every corruption that `mnist_corrupted` has.
CORRUPTIONS = (
    "brightness", "canny_edges", "dotted_line", "fog", "glass_blur", "impulse_noise", "motion_blur", "rotate",
    "scale", "shear", "shot_noise", "spatter", "stripe", "translate", "zigzag",
)  # fmt: skip
COUNTS = {"train": (29492, 30508), "test": (4926, 5074)}  # even and odd digits


class TfdsMnistCorrelationSettings(MnistCorrelationSettings):
    """As its base, with every corruption of MNIST-C: none has to be drawn."""

    corruptions: tuple[Literal[CORRUPTIONS], ...] = Field(default=("zigzag",), min_length=1)


class TfdsDigits:
    """Digits from the data sets `mnist` and `mnist_corrupted/<corruption>` of `tensorflow_datasets`.

    Both have the digits in one order, which is how an image's corrupted version is found. The labels are compared to
    make sure.
    """

    def __init__(self, corruptions: Sequence[str], data_dir: Path | None = None, download: bool = False):
        """Nothing is read yet.

        Args:
            corruptions: names of `CORRUPTIONS`.
            data_dir: where `tensorflow_datasets` keeps its data; None for its own choice, ~/tensorflow_datasets.
            download: whether it may download what isn't there.
        """
        self._corruptions = tuple(corruptions)
        self._data_dir = data_dir
        self._download = download

    def checksums(self) -> dict[str, str]:
        """SHA-256 of the pixels and labels of each data set and split."""
        checksums = {}
        for split, digits in self._digits.items():
            for name, images in zip(self._names, digits.images, strict=True):
                digest = hashlib.sha256(images.tobytes())
                digest.update(digits.labels.tobytes())
                checksums[f"{name}/{split}"] = digest.hexdigest()
        return checksums

    def read(self) -> dict[str, Digits]:
        """Loads all splits, once."""
        return self._digits

    @property
    def _names(self) -> list[str]:
        return ["mnist", *(f"mnist_corrupted/{corruption}" for corruption in self._corruptions)]

    @cached_property
    def _digits(self) -> dict[str, Digits]:
        digits = {}
        for split, counts in COUNTS.items():
            loaded = [self._load(name, split) for name in self._names]
            labels = loaded[0][1]
            found = tuple(int(np.count_nonzero(labels % 2 == parity)) for parity in (0, 1))
            if found != counts:
                raise DigitsError(
                    f"tensorflow_datasets: mnist/{split} has {found[0]} even and {found[1]} odd digits, "
                    f"MNIST has {counts[0]} and {counts[1]}"
                )
            for name, (_, others) in zip(self._names, loaded, strict=True):
                if not np.array_equal(labels, others):
                    raise DigitsError(
                        f"tensorflow_datasets: {name}/{split} doesn't have the digits of mnist/{split} in the same "
                        f"order: {_first_difference(labels, others)}"
                    )
            digits[split] = Digits(labels, tuple(images for images, _ in loaded))
        return digits

    def _load(self, name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Images, uint8 [n, 28, 28], and labels, uint8 [n], of one split of a data set, in the order of its files."""
        tfds = _tensorflow_datasets()
        try:
            dataset = tfds.load(
                name,
                split=split,
                data_dir=None if self._data_dir is None else str(self._data_dir),
                batch_size=-1,
                download=self._download,
                shuffle_files=False,
                # One file after the other.
                read_config=tfds.ReadConfig(interleave_cycle_length=1),
            )
            arrays = tfds.as_numpy(dataset)
        except AssertionError:  # what it raises for data that isn't there
            raise DigitsError(
                f"tensorflow_datasets: {name} is not in {self._data_dir or '~/tensorflow_datasets'}; give the folder "
                "that has it with --tfds-dir, or let it be downloaded with --download"
            ) from None
        except (
            Exception
        ) as error:  # of any kind: a download that fails, a damaged file, a version that is too old
            raise DigitsError(f"tensorflow_datasets: {name} can't be loaded: {_one_line(error)}") from error
        images, labels = arrays["image"], arrays["label"]
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 1):
            raise DigitsError(
                f"tensorflow_datasets: {name}/{split} has images {images.dtype} {list(images.shape[1:])}, "
                f"expected uint8 [{SIDE}, {SIDE}, 1]"
            )
        return images[..., 0], labels.astype(np.uint8)


def _tensorflow_datasets() -> Any:
    """The package, which isn't one of the project's own."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise DigitsError(
            f"tensorflow_datasets can't be imported ({_one_line(error)}); "
            "install it with .venv/bin/pip install tensorflow-datasets importlib_resources"
        ) from None
    return tensorflow_datasets


def _first_difference(labels: np.ndarray, others: np.ndarray) -> str:
    if len(labels) != len(others):
        return f"{len(others)} instead of {len(labels)}"
    number = int(np.flatnonzero(labels != others)[0])
    return f"record {number} is a {others[number]} instead of a {labels[number]}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + " …"
