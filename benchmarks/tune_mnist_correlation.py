"""Tries settings of one preset's classifier and scores each on the validation split; the test split isn't read.

    .venv/bin/python benchmarks/tune_mnist_correlation.py mnist_correlation_group_dro_small \
        runs/model_patching/Augmenter/examples/<number> --set learning_rate=0.01,0.03 --set weight_decay=5e-4,5e-3

Every combination is trained with the preset's seed, one after the other. docs/results.md says what was tried.
"""

import itertools
import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from model_patching.components.robust_trainer.train import train
from model_patching.components.tracking import NoTracker
from model_patching.pipelines.config import load_config


def main(
    preset: Annotated[
        str, typer.Argument(metavar="PRESET", help="Name of a preset, or path of a YAML file.")
    ],
    examples: Annotated[
        Path, typer.Argument(metavar="EXAMPLES", help="Has Split-train/ and Split-validation/.")
    ],
    values: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE,VALUE…", help="Key of `training`, values to try.")
    ],
) -> None:
    """Trains every combination and prints a table, the best last."""
    tried = dict(one.split("=", 1) for one in values)
    choices = [text.split(",") for text in tried.values()]
    rows = []
    for chosen in itertools.product(*choices):
        changes = [f"training.{key}={value}" for key, value in zip(tried, chosen, strict=True)]
        config = load_config(preset, changes)
        with tempfile.TemporaryDirectory() as folder:
            train(
                train_paths=sorted(map(str, examples.glob("Split-train/*"))),
                validation_paths=sorted(map(str, examples.glob("Split-validation/*"))),
                dataset=config.data.description,
                settings=config.training,
                seed=config.training_seed,
                checkpoints_dir=f"{folder}/checkpoints",
                model_dir=f"{folder}/model",
                model_run_dir=folder,
                tracker=NoTracker(),
            )
            record = json.loads(Path(folder, "training.json").read_text())
        epoch = record["history"][record["selected_epoch"] - 1]
        scores = epoch["validation"]
        rows.append((scores["worst_group_accuracy"], scores["average_accuracy"], epoch["epoch"], chosen))
        Console().print(*_cells(rows[-1]))
    table = Table(*tried, "selected epoch", "average", "worst group", title=f"{preset}, validation")
    for row in sorted(rows, key=lambda row: row[:2]):
        table.add_row(*_cells(row))
    Console().print(table)


def _cells(row: tuple[float, float, int, tuple[str, ...]]) -> list[str]:
    worst, average, epoch, chosen = row
    return [*chosen, str(epoch), f"{100 * average:.2f} %", f"{100 * worst:.1f} %"]


if __name__ == "__main__":
    typer.run(main)
