"""Times the conversion of records as large as CelebA's, and measures its memory: of N images, and of ten times as many.

    .venv/bin/python benchmarks/data_build.py 16000

The images are synthetic JPEG files of 128 px in `.tfrec` files like the published ones. Each conversion is a process of
its own. What is printed is explained in docs/benchmarks.md.
"""

import io
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

IMAGES_PER_FILE = 1000
DIFFERENT_IMAGES = 500  # drawn anew for each would take longer than what is measured
SIZE = 128
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}


class Measured(NamedTuple):
    """One conversion.

    Attributes:
        images: that were converted.
        seconds: of the conversion, from the first checksum to the manifest.
        start_mib: the process's memory before, TensorFlow and Beam loaded.
        peak_mib: the largest it had.
        worker_mib: the largest of a worker process; 0 where there is none.
        source_mib: bytes of the source's files.
    """

    images: int
    seconds: float
    start_mib: float
    peak_mib: float
    worker_mib: float
    source_mib: float


def write_source(folder: Path, count: int) -> None:
    """Writes images in the published format, with attributes drawn at random."""
    import tensorflow as tf

    random = np.random.default_rng(1)
    images = [_jpeg(random) for _ in range(DIFFERENT_IMAGES)]
    for split, share in SPLITS.items():
        (folder / split).mkdir(parents=True)
        left = round(count * share)
        for number in range(-(-left // IMAGES_PER_FILE)):
            path = folder / split / f"{number:03d}.tfrec"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for _ in range(min(left, IMAGES_PER_FILE)):
                    example = tf.train.Example()
                    features = example.features.feature
                    features["image"].bytes_list.value.append(images[random.integers(DIFFERENT_IMAGES)])
                    for attribute in ("Blond_Hair", "Male"):
                        features[attribute].int64_list.value.append(int(random.integers(2)))
                    writer.write(example.SerializeToString())
            left -= IMAGES_PER_FILE


def measure(folder: Path, workers: int) -> Measured:
    """Converts a source as `model-patching data build celeba-undersampled` does, but takes every image."""
    from model_patching.data.celeba import Task, celeba
    from model_patching.data.convert import convert

    arguments = []
    if workers > 1:
        arguments = ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    start = _peak_mib(resource.RUSAGE_SELF)
    started = time.perf_counter()
    manifest = convert(
        celeba(folder / "source", Task(takes={})), folder / "out", 1, beam_pipeline_args=arguments
    )
    seconds = time.perf_counter() - started
    return Measured(
        images=int(sum(np.sum(counts) for counts in manifest["counts"].values())),
        seconds=seconds,
        start_mib=start,
        peak_mib=_peak_mib(resource.RUSAGE_SELF),
        worker_mib=_peak_mib(resource.RUSAGE_CHILDREN) if workers > 1 else 0.0,
        source_mib=sum(path.stat().st_size for path in (folder / "source").rglob("*.tfrec")) / 2**20,
    )


def main(
    images: Annotated[int, typer.Argument(min=20, metavar="N", help="Images of the smaller source.")],
    workers: Annotated[
        int, typer.Option(min=1, help="Worker processes; 1 does everything in one process.")
    ] = 1,
) -> None:
    """Convert N images and ten times as many, and print a table."""
    table = Table()
    for heading in (
        "images",
        "source, MiB",
        "seconds",
        "images/s",
        "memory at start, MiB",
        "at most",
        "of a worker",
    ):
        table.add_column(heading, justify="right")
    for count in (images, 10 * images):
        with tempfile.TemporaryDirectory() as folder:
            _in_a_process(write_source, Path(folder) / "source", count)
            found = _in_a_process(measure, Path(folder), workers)
        table.add_row(
            f"{found.images:,}",
            f"{found.source_mib:.0f}",
            f"{found.seconds:.1f}",
            f"{found.images / found.seconds:.0f}",
            f"{found.start_mib:.0f}",
            f"{found.peak_mib:.0f}",
            f"{found.worker_mib:.0f}",
        )
    Console(width=120).print(table)


def _in_a_process(function, *arguments):
    """What a function returns in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _jpeg(random: np.random.Generator) -> bytes:
    """A JPEG file as large as that of a face: smooth, with some noise."""
    smooth = Image.fromarray(random.integers(0, 256, (12, 12, 3)).astype(np.uint8)).resize((SIZE, SIZE), 3)
    noise = random.normal(0, 4, (SIZE, SIZE, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)).save(
        file, "JPEG", quality=90
    )
    return file.getvalue()


def _peak_mib(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


if __name__ == "__main__":
    typer.run(main)
