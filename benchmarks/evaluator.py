"""Times TFX's Evaluator with the pipeline's metrics, and measures its memory: of N images, and of five times as many.

    .venv/bin/python benchmarks/evaluator.py 10000

The model is the small CNN with random weights, the images are noise of 28 px. Each evaluation is a process of its own,
with Beam in it. What is printed is explained in docs/benchmarks.md.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from model_patching.data.dataset import Dataset

DIFFERENT_IMAGES = 500  # drawn anew for each would take longer than what is measured


class Measured(NamedTuple):
    """One evaluation."""

    images: int
    seconds: float
    cpu_seconds: float
    start_mib: float  # the process's memory before, TFX loaded
    peak_mib: float  # the largest it had


def write_inputs(folder: Path, count: int) -> None:
    """Writes the test split and the model."""
    import tensorflow as tf

    from model_patching.components.robust_trainer.export import export_classifier
    from model_patching.components.robust_trainer.small_cnn import small_cnn
    from model_patching.data import schema

    dataset = _dataset()
    random = np.random.default_rng(1)
    images = [
        schema.encode_png(random.integers(0, 256, dataset.image_shape).astype(np.uint8)).numpy()
        for _ in range(DIFFERENT_IMAGES)
    ]
    split = folder / "examples" / "Split-test"
    split.mkdir(parents=True)
    path = split / schema.shard_name(0, 1)
    with tf.io.TFRecordWriter(str(path), schema.LIGHT_COMPRESSION) as writer:
        for number in range(count):
            label, subgroup = random.integers(2, size=2).tolist()
            record = schema.Record(images[number % DIFFERENT_IMAGES], label, subgroup, f"test-{number}")
            writer.write(schema.serialize(record))
    export_classifier(
        small_cnn(dataset.image_shape, dataset.num_classes, seed=1),
        dataset,
        str(folder / "model" / "Format-Serving"),
    )


def measure(folder: Path, count: int) -> Measured:
    """Runs the Evaluator as a pipeline does."""
    from google.protobuf import json_format
    from tfx.components.evaluator.executor import Executor
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import Artifact, artifact_utils, standard_artifacts

    from model_patching.components.evaluator.eval_config import eval_config
    from model_patching.components.evaluator.settings import EvaluatorSettings
    from model_patching.data.beam_buffers import turn_off_timed_flush
    from model_patching.data.beam_runner import IN_PROCESS_RUNNER

    def artifact(kind: type[Artifact], name: str) -> Artifact:
        made = kind()
        made.uri = str(folder / name)
        return made

    examples = artifact(standard_artifacts.Examples, "examples")
    examples.split_names = artifact_utils.encode_split_names(["test"])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    outputs = {
        "evaluation": [artifact(standard_artifacts.ModelEvaluation, "evaluation")],
        "blessing": [artifact(standard_artifacts.ModelBlessing, "blessing")],
    }
    config = eval_config(EvaluatorSettings(baseline="none"), _dataset(), "hash")
    turn_off_timed_flush()
    start = _peak_mib()
    started, cpu_started = time.perf_counter(), time.process_time()
    Executor(BaseBeamExecutor.Context(beam_pipeline_args=[IN_PROCESS_RUNNER])).Do(
        {"examples": [examples], "model": [artifact(standard_artifacts.Model, "model")]},
        outputs,
        {"eval_config": json_format.MessageToJson(config), "example_splits": '["test"]'},
    )
    return Measured(
        images=count,
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
        start_mib=start,
        peak_mib=_peak_mib(),
    )


def main(
    images: Annotated[int, typer.Argument(min=1, metavar="N", help="Images of the smaller split.")],
) -> None:
    """Evaluate N images and five times as many, and print a table."""
    table = Table()
    for heading in ("images", "seconds", "CPU, s", "memory at start, MiB", "at most"):
        table.add_column(heading, justify="right")
    for count in (images, 5 * images):
        with tempfile.TemporaryDirectory() as folder:
            _in_a_process(write_inputs, Path(folder), count)
            found = _in_a_process(measure, Path(folder), count)
        table.add_row(
            f"{found.images:,}",
            f"{found.seconds:.1f}",
            f"{found.cpu_seconds:.1f}",
            f"{found.start_mib:,.0f}",
            f"{found.peak_mib:,.0f}",
        )
    Console(width=120).print(table)


def _dataset() -> "Dataset":
    from model_patching.data.mnist_correlation import MnistCorrelationSettings, dataset

    return dataset(MnistCorrelationSettings())


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    typer.run(main)
