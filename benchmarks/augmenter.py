"""Times the Augmenter beside its generators alone and beside the published way, in turn, in one process.

    .venv/bin/python benchmarks/augmenter.py

The published way is one process that puts batches through the generators, and then encodes and writes image after
image eagerly. What is printed is explained in docs/benchmarks.md.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model_patching.components.augmenter.augment import PatchSplit
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.translators import SharedTranslators, plan_translators
from model_patching.components.cyclegan_trainer.export import export_translators
from model_patching.components.cyclegan_trainer.generator import generator
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.data import idx, schema
from model_patching.data.beam_buffers import turn_off_timed_flush
from model_patching.data.dataset import IMAGE, Dataset
from model_patching.data.mnist_digits import DIGITS

MNIST, CELEBA = (28, 28, 1), (128, 128, 3)
MID_SIZE = (32, 64, 128, 256, 256)
# Image shape, changes of the generators' settings, and images.
CASES = {
    "mnist-published": (MNIST, {"norm": "batchnorm"}, 8000),
    "mnist-mid-size": (MNIST, {"generator_filters": MID_SIZE}, 8000),
    "128px-published": (CELEBA, {"norm": "batchnorm"}, 512),
}
PAIRS = ((0, 1), (1, 0))
IN_PROCESS = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
IN_MEMORY = (IN_PROCESS,)
MULTI_PROCESSING = (
    IN_PROCESS,
    "--direct_running_mode=multi_processing",
    f"--direct_num_workers={os.cpu_count()}",
)


class Bench:
    """Translators with their initial weights, and source files, for one image shape."""

    def __init__(
        self, folder: Path, image_shape: tuple[int, int, int], changes: dict, settings: AugmenterSettings
    ):
        """Makes and loads the translators."""
        self.folder = folder
        self.dataset = Dataset(classes=("a", "b"), subgroups=("x", "y"), image_shape=image_shape)
        self.settings = settings
        networks = {
            pair: generator(image_shape, CycleGANTrainerSettings(**changes), seed, f"generator{seed}")
            for seed, pair in enumerate(PAIRS)
        }
        model = str(folder / "model")
        export_translators(model, networks, {"label": None, "image_shape": image_shape})
        self.plan = plan_translators([model], self.dataset)
        self.shared = SharedTranslators(self.plan, self.dataset, settings)
        self.loaded = [tf.saved_model.load(path) for path in self.plan[0, 0]]

    def write_source(self, count: int) -> str:
        """A file of `count` examples, spread evenly over the four groups; returns its path."""
        path = str(self.folder / f"source-{count}.tfrecord.gz")
        with tf.io.TFRecordWriter(path, options=schema.COMPRESSION) as writer:
            for number, image in enumerate(encoded_images(self.dataset.image_shape, count)):
                record = schema.Record(image, number % 2, number // 2 % 2, f"example-{number}")
                writer.write(schema.serialize(record))
        return path

    def decoded_batches(self, source: str) -> list[tf.Tensor]:
        """The images of a file, float32 [n, H, W, C] in [-1, 1] for each batch."""
        return [schema.to_float(images) for _, images in self._batches(source)]

    def generators_alone(self, batches: Sequence[tf.Tensor]) -> None:
        """Puts decoded images through both generators."""
        for images in batches:
            for model in self.loaded:
                model.serve(images).numpy()

    def published_way(self, source: str, output: Path) -> None:
        """Translates in batches, then encodes and writes image after image."""
        with tf.io.TFRecordWriter(str(output)) as writer:
            for serialized, images in self._batches(source):
                translated = [schema.to_uint8(model.serve(schema.to_float(images))) for model in self.loaded]
                for number, item in enumerate(serialized.numpy()):
                    record = schema.deserialize(item)
                    versions = tuple(self._encode(images[number]) for images in translated)
                    writer.write(schema.serialize(replace(record, patched_images=versions)))

    def augmenter(self, source: str, output: Path, beam_pipeline_args: Sequence[str]) -> None:
        """Runs the Augmenter's Beam pipeline."""
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as scratch,
            beam.Pipeline(argv=list(beam_pipeline_args)) as pipeline,
        ):
            pipeline | PatchSplit([source], str(output), scratch, self.shared, self.dataset, self.settings)

    def _batches(self, source: str) -> tf.data.Dataset:
        """Serialized records and their images, uint8, in batches."""

        def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            record = schema.parse(serialized, self.dataset, patched=False)
            return serialized, schema.decode_image(record[IMAGE], self.dataset)

        decoded = schema.read_records([source]).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        return decoded.batch(self.settings.batch_size).prefetch(1)

    def _encode(self, image: tf.Tensor) -> bytes:
        encode = tf.io.encode_png if self.settings.image_format == "png" else tf.io.encode_jpeg
        return encode(image).numpy()


def encoded_images(image_shape: tuple[int, int, int], count: int) -> Iterator[bytes]:
    """MNIST's digits as PNG, or noise as smooth as a photograph as JPEG."""
    if image_shape == MNIST:
        name = "train-images-idx3-ubyte.gz"
        digits = idx.read_images(DIGITS / name, idx.read_checksums(DIGITS / "SHA256SUMS")[name])
        for digit in digits[:count, :, :, None]:
            yield tf.io.encode_png(digit).numpy()
    else:
        random = np.random.default_rng(1)
        for _ in range(count):
            coarse = random.uniform(0, 255, (8, 8, image_shape[2]))
            image = tf.image.resize(coarse, image_shape[:2], "bicubic") + random.normal(0, 6, image_shape)
            yield tf.io.encode_jpeg(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8), quality=95).numpy()


class Times(NamedTuple):
    """Seconds of one run: on the clock, and of all cores, worker processes too, which others disturb less."""

    wall: float
    cpu: float


def time_of(run: Callable[[], None]) -> Times:
    """What one run takes."""
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    run()
    return Times(time.perf_counter() - wall, sum(os.times()[:4]) - cpu)


def measure(
    name: str, images: int | None, rounds: int, settings: AugmenterSettings
) -> dict[str, tuple[list[Times], list[Times]]]:
    """For each way the times of its start, on eight images, and of all images; in turn."""
    image_shape, changes, default_images = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), image_shape, changes, settings)
        few, all_images = (bench.write_source(count) for count in (8, images or default_images))
        batches = {source: bench.decoded_batches(source) for source in (few, all_images)}
        output = Path(folder) / "output"
        output.mkdir()
        ways = {
            "generators alone": lambda source: bench.generators_alone(batches[source]),
            "published way": lambda source: bench.published_way(source, output / "published"),
            "in memory": lambda source: bench.augmenter(source, output, IN_MEMORY),
            "multi-processing": lambda source: bench.augmenter(source, output, MULTI_PROCESSING),
        }
        times = {way: ([], []) for way in ways}
        for way in list(ways)[:3]:  # traces; worker processes start anew each time anyway
            ways[way](all_images)
        for _ in track(range(rounds), name, console=Console(stderr=True)):
            for way, run in ways.items():
                for source, found in zip((few, all_images), times[way], strict=True):
                    found.append(time_of(lambda run=run, source=source: run(source)))
    return times


def rows(
    name: str, times: dict[str, tuple[list[Times], list[Times]]], images: int
) -> Iterator[tuple[str, ...]]:
    """The table's rows of a case; medians over the rounds."""
    median = {
        way: [Times(*np.median(found, axis=0)) for found in starts_and_alls]
        for way, starts_and_alls in times.items()
    }
    per_image = {
        way: Times(*(np.subtract(whole, start) / (images - 8))) for way, (start, whole) in median.items()
    }
    alone, published = per_image["generators alone"], per_image["published way"]
    for way, each in per_image.items():
        yield (
            name,
            way,
            f"{1 / each.wall:,.1f}",
            f"{100 * alone.wall / each.wall:.0f} %",
            f"{published.wall / each.wall:.2f}",
            f"{1000 * each.cpu:.2f}",
            f"{100 * alone.cpu / each.cpu:.0f} %",
            f"{published.cpu / each.cpu:.2f}",
            f"{median[way][0].wall:.1f}",
        )


def main(
    cases: Annotated[str, typer.Option(help="Names with commas between.")] = ",".join(CASES),
    images: Annotated[int | None, typer.Option(help="Images of a case; its own number without it.")] = None,
    rounds: Annotated[int, typer.Option(help="Times that each way is measured.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Images that go through a generator together.")] = 128,
    image_format: Annotated[str, typer.Option(help="png or jpeg.")] = "png",
) -> None:
    """Prints the table of docs/benchmarks.md."""
    turn_off_timed_flush()
    settings = AugmenterSettings(batch_size=batch_size, image_format=image_format)
    columns = [
        "case",
        "way",
        "images/s",
        "of alone",
        "× published",
        "CPU ms/image",
        "of alone",
        "× published",
    ]
    table = Table(*columns, "start, s")
    for name in cases.split(","):
        for row in rows(name, measure(name, images, rounds, settings), images or CASES[name][2]):
            table.add_row(*row)
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
