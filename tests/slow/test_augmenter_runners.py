"""The Augmenter's executor with the Beam runners that a user may name in `beam_pipeline_args`."""

import tfx  # noqa: F401, I001 - before everything that imports tensorflow_data_validation

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from model_patching.components.augmenter.executor import Executor
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.cyclegan_trainer.export import export_translators
from model_patching.components.cyclegan_trainer.generator import generator
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.data import schema
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record, RecordError
from model_patching.data.beam_runner import IN_PROCESS_RUNNER

DATASET = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(16, 16, 1))
COUNTS = [[230, 20], [30, 220]]
SETTINGS = AugmenterSettings(splits=("train",), batch_size=16, records_per_shard=64)
MULTI_PROCESSING = (IN_PROCESS_RUNNER, "--direct_running_mode=multi_processing", "--direct_num_workers=2")


def write_examples(folder: Path, records: list[Record]) -> standard_artifacts.Examples:
    """An Examples artifact with the records as its split `train`, in three files."""
    (folder / "Split-train").mkdir(parents=True)
    for part in range(3):
        path = folder / "Split-train" / f"data_tfrecord-0000{part}-of-00003.gz"
        with tf.io.TFRecordWriter(str(path), options=schema.COMPRESSION) as writer:
            for record in records[part::3]:
                writer.write(schema.serialize(record))
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    examples.split_names = '["train"]'
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    return examples


def augment(folder: Path, examples: standard_artifacts.Examples, model: str, beam_pipeline_args) -> Path:
    """Runs the executor into a new folder, as TFX does; returns it."""
    folder.mkdir()
    output, model_artifact = standard_artifacts.Examples(), standard_artifacts.Model()
    output.uri, model_artifact.uri = str(folder), model
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_pipeline_args), tmp_dir=str(folder.parent / "tmp"), unique_id="1"
    )
    properties = {
        "settings": SETTINGS.model_dump_json(),
        "thresholds": TranslationThresholds().model_dump_json(),
        "dataset": DATASET.model_dump_json(),
        "code_hash": "0",
    }
    Executor(context).Do(
        {"source_examples": [examples], "model_0": [model_artifact]}, {"examples": [output]}, properties
    )
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "Split-train").iterdir()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Translators that normalize over their batch, so that their output shows which images shared one."""
    folder = str(tmp_path_factory.mktemp("model"))
    settings = CycleGANTrainerSettings(norm="batchnorm", generator_filters=(8, 16))
    translators = {
        pair: generator(DATASET.image_shape, settings, seed, f"generator{seed}")
        for seed, pair in enumerate(((0, 1), (1, 0)))
    }
    description = {"label": None, "image_shape": DATASET.image_shape}
    export_translators(folder, translators, description)
    return folder


@pytest.fixture(scope="module")
def records():
    random = np.random.default_rng(0)
    made = [
        Record(
            tf.io.encode_png(random.integers(0, 256, DATASET.image_shape).astype(np.uint8)).numpy(),
            label,
            subgroup,
            f"example-{label}-{subgroup}-{number}",
        )
        for label, row in enumerate(COUNTS)
        for subgroup, count in enumerate(row)
        for number in range(count)
    ]
    return [made[i] for i in random.permutation(len(made))]


@pytest.fixture(scope="module")
def examples(tmp_path_factory, records):
    return write_examples(tmp_path_factory.mktemp("examples") / "good", records)


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory, examples, model):
    """What the default runner writes."""
    return contents(
        augment(tmp_path_factory.mktemp("in_memory") / "out", examples, model, [IN_PROCESS_RUNNER])
    )


def stored_records(files: dict[str, bytes], folder: Path) -> list[Record]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    serialized = schema.read_records(sorted(folder.iterdir())).as_numpy_iterator()
    return [schema.deserialize(item) for item in serialized]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def portable_runner():
    """Beam's Python job service and a pool of workers, each a process; their `beam_pipeline_args`."""
    job_port, pool_port = free_port(), free_port()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    services = [
        ["apache_beam.runners.portability.local_job_service_main", f"--port={job_port}"],
        ["apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"],
    ]
    processes = [subprocess.Popen([sys.executable, "-m", *service], env=environment) for service in services]
    for port in (job_port, pool_port):
        while True:
            assert all(process.poll() is None for process in processes)
            with socket.socket() as client:
                if client.connect_ex(("localhost", port)) == 0:
                    break
            time.sleep(0.2)
    yield (
        "--runner=PortableRunner",
        f"--job_endpoint=localhost:{job_port}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{pool_port}",
    )
    for process in processes:
        for worker in psutil.Process(process.pid).children(recursive=True):
            worker.kill()
        process.kill()
        process.wait()


def test_the_default_runner_patches_every_record(tmp_path, in_memory, records):
    assert len(in_memory) == 10  # of at most 64 records and 4 batches: 4, 1, 1 and 4 of the groups
    found = stored_records(in_memory, tmp_path)
    assert {len(record.patched_images) for record in found} == {2}
    sources = [replace(record, patched_images=()) for record in found]
    assert sorted(sources, key=lambda record: record.example_id) == sorted(
        records, key=lambda record: record.example_id
    )


def test_worker_processes_write_the_same_and_load_the_translators_once(
    tmp_path, examples, model, in_memory, caplog
):
    caplog.set_level(logging.INFO)
    assert contents(augment(tmp_path / "out", examples, model, MULTI_PROCESSING)) == in_memory
    loads = re.findall(r"process (\d+) has loaded 2 translators", caplog.text)
    assert len(loads) == len(set(loads)) == 2
    assert str(os.getpid()) not in loads


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_write_the_same(tmp_path, examples, model, in_memory, workers):
    threads = (IN_PROCESS_RUNNER, "--direct_running_mode=multi_threading", f"--direct_num_workers={workers}")
    assert contents(augment(tmp_path / "out", examples, model, threads)) == in_memory


def test_the_portable_runner_writes_the_same(tmp_path, examples, model, in_memory, portable_runner):
    assert contents(augment(tmp_path / "out", examples, model, portable_runner)) == in_memory


def test_a_bad_image_is_named_in_one_line_by_workers_elsewhere(tmp_path, records, model, portable_runner):
    bad = list(records)
    bad[3 * 50 + 1] = Record(b"GIF?", 0, 0, "broken")
    examples = write_examples(tmp_path / "bad", bad)
    file = tmp_path / "bad" / "Split-train" / "data_tfrecord-00001-of-00003.gz"
    for name, runner in (("processes", MULTI_PROCESSING), ("portable", portable_runner)):
        with pytest.raises(RecordError) as caught:
            augment(tmp_path / name, examples, model, runner)
        message = str(caught.value)
        assert message.startswith(f"{file}, record 50, 'broken': bad image: Unknown image file format.")
        assert "\n" not in message and "{" not in message
        assert list((tmp_path / name).iterdir()) == []


SLOW_RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_augmenter_runners as runners
examples = runners.standard_artifacts.Examples()
examples.uri, examples.split_names = sys.argv[2], '["train"]'
runners.examples_utils.set_payload_format(examples, runners.example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
runners.augment(Path(sys.argv[4]), examples, sys.argv[3], runners.MULTI_PROCESSING)
"""


@pytest.fixture
def start_slow_run(tmp_path, examples):
    """Starts a run with worker processes in a process of its own, and waits until one writes an output file."""
    settings = CycleGANTrainerSettings(generator_filters=(512, 512))
    translators = {
        pair: generator(DATASET.image_shape, settings, 1, "generator") for pair in ((0, 1), (1, 0))
    }
    export_translators(
        str(tmp_path / "slow"), translators, {"label": None, "image_shape": DATASET.image_shape}
    )
    started = []

    def start(out: Path) -> tuple[subprocess.Popen, list[psutil.Process]]:
        arguments = [str(Path(__file__).parent), examples.uri, str(tmp_path / "slow"), str(out)]
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW_RUN, *arguments], stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        while not any(out.glob(".partial/scratch/data-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        return process, [child for child in children if "python" in child.name()]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_worker_ends_the_run_and_nothing_looks_complete(tmp_path, start_slow_run):
    out = tmp_path / "out"
    process, workers = start_slow_run(out)
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "RuntimeError: a worker process of Beam has ended before its work was done" in errors
    assert list(out.iterdir()) == []


def test_a_killed_run_leaves_nothing_that_looks_complete(tmp_path, start_slow_run):
    out = tmp_path / "out"
    process, workers = start_slow_run(out)
    process.kill()
    process.wait()
    assert [path.name for path in out.iterdir()] == [".partial"]
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []
