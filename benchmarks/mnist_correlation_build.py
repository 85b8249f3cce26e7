"""Times `data build mnist-correlation` at its published size: of digits, without Beam, and of the same images by Beam.

    .venv/bin/python benchmarks/mnist_correlation_build.py

Beam has the images as arrays, as `--from npy` takes them. Each row is the whole command. What is printed is explained
in docs/benchmarks.md.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from model_patching.data.mnist_correlation import MnistCorrelationSettings, select
from model_patching.data.mnist_digits import EmbeddedDigits

SEED = 1


def write_arrays(folder: Path) -> None:
    """Writes the images of the published data set, their digits and subgroups: three arrays for each split."""
    settings = MnistCorrelationSettings()
    digits = EmbeddedDigits(settings.corruptions, SEED).read()
    splits = select(settings, SEED, digits["train"].labels % 2, digits["test"].labels % 2)
    for split, groups in splits.items():
        labels, images = digits["test" if split == "test" else "train"]
        subgroups = [group % len(images) for group in range(len(groups))]
        pairs = list(zip(subgroups, groups, strict=True))
        np.save(
            folder / f"{split}_images.npy", np.concatenate([images[z][of_group] for z, of_group in pairs])
        )
        np.save(folder / f"{split}_labels.npy", labels[np.concatenate(groups)])
        np.save(folder / f"{split}_subgroups.npy", np.repeat(subgroups, [len(group) for group in groups]))


def measure(options: list[str]) -> tuple[float, float]:
    """Seconds of the whole command on the clock, and CPU seconds of it and its workers."""
    command = [str(Path(sys.executable).with_name("model-patching")), "data", "build", "mnist-correlation"]
    cpu, started = _cpu_seconds(), time.perf_counter()
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started, _cpu_seconds() - cpu


def main(
    rounds: Annotated[
        int, typer.Option(min=1, help="Times each way is measured; the medians are printed.")
    ] = 3,
    workers: Annotated[int, typer.Option(min=2, help="Worker processes in the last row.")] = 2,
) -> None:
    """Make the 60,000 records each way in turn, and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "arrays").mkdir()
        write_arrays(folder / "arrays")
        arrays = ["--from", "npy", "--source", str(folder / "arrays")]
        processes = [
            "--beam-arg=--direct_running_mode=multi_processing",
            f"--beam-arg=--direct_num_workers={workers}",
        ]
        ways = {
            "of digits, without Beam": [],
            "of arrays, Beam in the process": arrays,
            f"of arrays, Beam with {workers} worker processes": [*arrays, *processes],
        }
        seconds = {way: [] for way in ways}
        for number in range(rounds):
            for way, options in ways.items():
                output = folder / f"{number} {way}"
                seconds[way].append(measure([*options, "--seed", str(SEED), "--output", str(output)]))
    table = Table("mnist-correlation", "clock, s", "CPU, s")
    for way, of_way in seconds.items():
        clock, cpu = np.median(of_way, axis=0)
        table.add_row(way, f"{clock:.1f}", f"{cpu:.1f}")
    Console(width=120).print(table)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    typer.run(main)
