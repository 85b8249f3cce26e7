"""`model-patching data build mnist-correlation`: from digits, over which corruptions are drawn or are drawn already.

Digits don't go through Beam, as other sources do: there are never more than MNIST's 70,000, for which it only takes
longer (docs/benchmarks.md). None of them can be skipped either. They come from files that are checked as a whole, or
from `tensorflow_datasets`, which decodes them and fails as a whole; and a corrupted digit is told by its place among
the others, so that one that is missing would shift the rest.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model_patching.data import mnist_correlation
from model_patching.data.build import BuildError
from model_patching.data.dataset import Dataset
from model_patching.data.idx import IdxError
from model_patching.data.mnist_correlation import MnistCorrelationSettings
from model_patching.data.mnist_digits import DigitsError, DigitsSource
from model_patching.data.mnist_tfds import TfdsDigits, TfdsMnistCorrelationSettings
from model_patching.pipelines.build_data import run_build
from model_patching.pipelines.console import working_on
from model_patching.pipelines.exit_codes import BAD_INPUT


def build_embedded(values: dict[str, Any], seed: int, output: Path) -> int:
    """Makes MNIST-Correlation of the embedded digits; see `_build`."""
    try:
        settings = MnistCorrelationSettings(**values)
    except ValidationError as error:
        return _wrong_settings(error)
    return _build(settings, seed, output, None)


def build_tfds(values: dict[str, Any], seed: int, output: Path, data_dir: Path | None, download: bool) -> int:
    """Makes MNIST-Correlation of the digits of `tensorflow_datasets`; see `_build` and `TfdsDigits`."""
    try:
        settings = TfdsMnistCorrelationSettings(**values)
    except ValidationError as error:
        return _wrong_settings(error)
    return _build(settings, seed, output, TfdsDigits(settings.corruptions, data_dir, download))


def _build(settings: MnistCorrelationSettings, seed: int, output: Path, digits: DigitsSource | None) -> int:
    """Builds the folder, and prints its counts and where it is.

    Returns:
        The command's exit code: 0 done, 2 the digits or the folder can't be used, 130 interrupted.
    """

    def build(show: Callable[[str, int, int], None]) -> tuple[dict[str, Any], Dataset]:
        if digits is not None:
            with working_on("loading MNIST and MNIST-C"):
                digits.checksums()
        manifest = mnist_correlation.build(settings, seed, output, partial(show, "writing"), digits)
        return manifest, mnist_correlation.dataset(settings)

    return run_build(build, output, (BuildError, DigitsError, IdxError))


def _wrong_settings(error: ValidationError) -> int:
    """Prints a line for each setting that is wrong."""
    mistakes = error.errors(include_url=False)
    for mistake in mistakes:
        if mistake["type"] == "too_short" and len(mistakes) > 1:
            continue  # pydantic counts a list's entries without the bad ones
        option = f"--{mistake['loc'][0]}: ".replace("_", "-") if mistake["loc"] else ""
        option = option.replace("--corruptions", "--corruption")
        reason = mistake.get("ctx", {}).get("error", f"{mistake['msg']}, got {mistake['input']!r}")
        print(f"{option}{reason}", file=sys.stderr)
    return BAD_INPUT
