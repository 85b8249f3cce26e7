"""Time and memory of `model-patching evaluate`, on random predictions of any number of rows.

    .venv/bin/python benchmarks/evaluate_predictions.py

It runs the command itself, start of Python included, on two processors. docs/benchmarks.md has the figures.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

CASES = ((2, 2, True), (10, 4, True), (2, 2, False))  # classes, subgroups, probabilities or predictions alone
PROCESSORS = 2


def main(rows: Annotated[int, typer.Option(min=1)] = 1_000_000) -> None:
    """Prints a row for each case; a baseline has as many rows again."""
    table = Table("case", "CSV, MB", "clock, s", "CPU, s", "most memory, GB")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for num_classes, num_subgroups, has_probabilities in CASES:
            file = folder / "predictions.csv"
            arguments = (file, rows, num_classes, num_subgroups, has_probabilities)
            # In a process of its own: a command's most memory counts what the process that started it held.
            writer = multiprocessing.Process(target=write_predictions, args=arguments)
            writer.start()
            writer.join()
            what = "probabilities" if has_probabilities else "predictions"
            case = f"{num_classes} classes by {num_subgroups} subgroups, {what}"
            table.add_row(case, *measure(file, [], folder))
            if num_classes == 2 and has_probabilities:
                table.add_row(f"{case}, and a baseline", *measure(file, ["--baseline", str(file)], folder))
    Console(width=200).print(table)


def write_predictions(
    file: Path, rows: int, num_classes: int, num_subgroups: int, has_probabilities: bool
) -> None:
    """Names, and probabilities with all their digits."""
    random = np.random.default_rng(0)
    label = random.integers(0, num_classes, rows)
    scores = random.normal(size=[rows, num_classes])
    scores[np.arange(rows), label] += 2
    probabilities = np.exp(scores)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = np.array([f"class_{y}" for y in range(num_classes)])
    columns = {
        "label": names[label],
        "subgroup": np.array([f"subgroup_{z}" for z in range(num_subgroups)])[
            random.integers(0, num_subgroups, rows)
        ],
    }
    if has_probabilities:
        columns |= {f"probability_{name}": probabilities[:, y] for y, name in enumerate(names)}
    else:
        columns["prediction"] = names[probabilities.argmax(axis=1)]
    pd.DataFrame(columns).to_csv(file, index=False)


def measure(file: Path, options: list[str], folder: Path) -> tuple[str, str, str, str]:
    """Runs the command; the figures of its row."""
    command = [str(Path(sys.prefix, "bin", "model-patching")), "evaluate", "--predictions", str(file)]
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, *options, "--output", str(folder / "out")], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        raise RuntimeError(f"{' '.join(command)} has failed")
    return (
        f"{file.stat().st_size / 1e6:.0f}",
        f"{seconds:.1f}",
        f"{usage.ru_utime + usage.ru_stime:.1f}",
        f"{usage.ru_maxrss * 1024 / 1e9:.2f}",
    )


if __name__ == "__main__":
    typer.run(main)
