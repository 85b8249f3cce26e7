"""The ExampleGen with the Beam runners that a user may name in `beam_pipeline_args`."""

import tfx  # noqa: F401, I001 - before everything that imports tensorflow_data_validation

import numpy as np
import pytest
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts

from model_patching.components.example_gen.component import ExampleGen
from model_patching.components.example_gen.executor import Executor
from model_patching.data.beam_runner import IN_PROCESS_RUNNER
from model_patching.data.dataset import SPLITS
from model_patching.data.schema import Record
from model_patching.data.source import SourceError

RUNNERS = {
    "in_memory": [],
    "processes": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    "threads": ["--direct_running_mode=multi_threading", "--direct_num_workers=3"],
}


@pytest.fixture
def folder(tmp_path, write_records):
    """Eight files of each split, of images that can't be compressed."""
    random = np.random.default_rng(0)
    for split in SPLITS:
        for part in range(8):
            records = [Record(random.bytes(300), 0, 0, f"r{part}-{number}") for number in range(500)]
            write_records(tmp_path / "in" / split / f"data-{part}.tfrecord.gz", records)
    return tmp_path / "in"


def run(folder, output_dir, arguments):
    """Contents of the files by their path in the artifact."""
    output_dir.mkdir()
    output = standard_artifacts.Examples()
    output.uri = str(output_dir)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[IN_PROCESS_RUNNER, *arguments], tmp_dir=f"{output_dir}-tmp", unique_id="1"
    )
    given = ExampleGen(str(folder)).exec_properties
    properties = {key: given[key] for key in ("input_base", "input_config")}
    Executor(context).Do({}, {"examples": [output]}, properties)
    return {
        path.relative_to(output_dir): path.read_bytes() for path in output_dir.rglob("*") if path.is_file()
    }


def test_every_runner_writes_the_same(folder, tmp_path):
    files = {name: run(folder, tmp_path / name, arguments) for name, arguments in RUNNERS.items()}
    assert len(files["in_memory"]) == 3 * 8
    assert files["processes"] == files["in_memory"]
    assert files["threads"] == files["in_memory"]


def test_worker_processes_name_a_damaged_file_in_one_line(folder, tmp_path):
    path = folder / "train" / "data-5.tfrecord.gz"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SourceError) as caught:
        run(folder, tmp_path / "out", RUNNERS["processes"])
    assert str(caught.value) == f"{path}, record 500: the file is cut off here"
    assert list((tmp_path / "out").iterdir()) == []
