"""MNIST's digits, clean and with corruptions: the embedded ones, over which the corruptions are drawn here."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from model_patching.data import idx
from model_patching.data.corruptions import DRAWN

DIGITS = Path(__file__).parent / "mnist"
FILES = {"train": "train", "test": "t10k"}  # of the embedded digits

# Streams of random numbers; those of mnist_correlation.py are others.
STREAMS = {"train": 1, "test": 2}


class DigitsError(ValueError):
    """Digits can't be had. The message is one line and says what to do."""


class Digits(NamedTuple):
    """Either MNIST's training or its test digits.

    Attributes:
        labels: the digits, uint8 [n].
        images: uint8 [n, 28, 28] for each subgroup: as they are, and then with each corruption.
    """

    labels: np.ndarray
    images: tuple[np.ndarray, ...]


class DigitsSource(Protocol):
    """Where digits come from, corruptions included."""

    def checksums(self) -> dict[str, str]:
        """SHA-256 of what is read, by its name.

        Raises:
            DigitsError, IdxError: it can't be read.
        """

    def read(self) -> dict[str, Digits]:
        """All digits of MNIST: "train", 60,000 of them, and "test", 10,000.

        Raises:
            DigitsError, IdxError: they can't be read.
        """


class EmbeddedDigits:
    """The digits that come with the project; a digit's corruption depends on the seed alone."""

    def __init__(self, corruptions: Sequence[str], seed: int):
        """Takes names of `corruptions.DRAWN`."""
        self._corruptions = tuple(corruptions)
        self._seed = seed

    def checksums(self) -> dict[str, str]:
        """SHA-256 of each file, from the list beside them, against which `read` checks them."""
        return idx.read_checksums(DIGITS / "SHA256SUMS")

    def read(self) -> dict[str, Digits]:
        """Reads the files and draws the corruptions."""
        checksums = self.checksums()
        digits = {}
        for name, stem in FILES.items():
            images, labels = f"{stem}-images-idx3-ubyte.gz", f"{stem}-labels-idx1-ubyte.gz"
            clean = idx.read_images(DIGITS / images, checksums[images])
            corrupted = [self._draw(corruption, clean, name) for corruption in self._corruptions]
            digits[name] = Digits(idx.read_labels(DIGITS / labels, checksums[labels]), (clean, *corrupted))
        return digits

    def _draw(self, corruption: str, clean: np.ndarray, name: str) -> np.ndarray:
        number = list(DRAWN).index(corruption)
        return DRAWN[corruption](clean, np.random.default_rng([self._seed, STREAMS[name], number]))
