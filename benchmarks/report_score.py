"""Time and memory of the SubgroupReport's pass over the test split: every image and its renditions through the model.

    .venv/bin/python benchmarks/report_score.py

Random images, a network with random weights, two subgroups. docs/benchmarks.md has the figures.
"""

import resource
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import tensorflow as tf
import typer
from rich.console import Console
from rich.table import Table

from model_patching.components.robust_trainer.backbone import build_classifier
from model_patching.components.robust_trainer.backbone_names import SMALL_CNN
from model_patching.components.robust_trainer.export import export_classifier
from model_patching.components.subgroup_report.score import score
from model_patching.data import schema
from model_patching.data.dataset import Dataset

MISTAKES = 5  # of each group, the default


def main(
    records: Annotated[int, typer.Option(min=1)] = 10_000,
    size: Annotated[int, typer.Option(min=16)] = 28,
    backbone: str = SMALL_CNN,
) -> None:
    """Prints a row without renditions and one with them."""
    channels = 1 if backbone == SMALL_CNN else 3
    dataset = Dataset(classes=("a", "b"), subgroups=("c", "d"), image_shape=(size, size, channels))
    table = Table("records", "images", "clock, s", "CPU, s", "images/s", "memory before, MiB", "at most, MiB")
    with tempfile.TemporaryDirectory() as name:
        model = f"{name}/model"
        export_classifier(build_classifier(backbone, dataset.image_shape, 2, "none", seed=1), dataset, model)
        for renditions in (0, dataset.num_subgroups):
            path = Path(name, f"{renditions}.gz")
            write_records(path, records, renditions, dataset)
            score([str(path)], model, dataset, MISTAKES, records)  # TensorFlow's own start
            before = memory()
            clock, cpu = time.monotonic(), time.process_time()
            score([str(path)], model, dataset, MISTAKES, records)
            clock, cpu = time.monotonic() - clock, time.process_time() - cpu
            images = records * (1 + renditions)
            figures = (records, images, f"{clock:.1f}", f"{cpu:.1f}", round(images / cpu), before, memory())
            table.add_row(*map(str, figures))
    Console(width=120).print(table)


def write_records(path: Path, count: int, renditions: int, dataset: Dataset) -> None:
    """Records whose images are those of a hundred, over and over."""
    random = np.random.default_rng(0)
    images = [
        tf.io.encode_png(random.integers(0, 256, dataset.image_shape).astype(np.uint8)).numpy()
        for _ in range(100)
    ]
    with tf.io.TFRecordWriter(str(path), options=schema.LIGHT_COMPRESSION) as writer:
        for number in range(count):
            patched = tuple(images[(number + k) % 100] for k in range(1, 1 + renditions))
            record = schema.Record(images[number % 100], number % 2, number // 2 % 2, f"{number}", patched)
            writer.write(schema.serialize(record))


def memory() -> int:
    """MiB that this process has held at most."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    typer.run(main)
