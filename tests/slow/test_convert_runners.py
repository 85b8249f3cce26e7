"""The conversion with the Beam runners that a user may name, and as a process that is stopped."""

import io
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

from model_patching.data.convert import convert
from model_patching.data.folder import FolderColumns, FolderSource
from model_patching.data.source import SourceError

COLUMNS = FolderColumns("y", "z", None, shares=(0.6, 0.2, 0.2))
MULTI_PROCESSING = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
RUNNERS = {
    "in_memory": (),
    "processes": MULTI_PROCESSING,
    "threads": ("--direct_running_mode=multi_threading", "--direct_num_workers=3"),
}
COUNT = 3000  # rows of three parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of small images and its CSV file."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    rows = ["file,y,z"]
    for number in range(COUNT):
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(file, "PNG")
        (folder / "images" / f"{number}.png").write_bytes(file.getvalue())
        rows.append(f"{number}.png,{number % 2},{number // 2 % 2}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    return folder


def build(folder, output, arguments):
    """Files of the records by their name."""
    source = FolderSource(folder / "images", folder / "rows.csv", COLUMNS)
    manifest = convert(source, output, 1, beam_pipeline_args=arguments)
    assert np.sum([manifest["counts"][split] for split in manifest["counts"]]) == COUNT
    return {name: (output / name).read_bytes() for name in manifest["files"]}


def test_every_runner_writes_the_same(folder, tmp_path):
    files = {name: build(folder, tmp_path / name, arguments) for name, arguments in RUNNERS.items()}
    assert len(files["in_memory"]) == 2 + 1 + 1  # 1,800 records of train, at most 1,000 in a file
    assert files["processes"] == files["in_memory"]
    assert files["threads"] == files["in_memory"]


def test_worker_processes_name_a_bad_image_in_one_line(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "source")
    (tmp_path / "source" / "images" / "2500.png").write_bytes(b"GIF89a")
    with pytest.raises(SourceError) as caught:
        build(tmp_path / "source", tmp_path / "out", MULTI_PROCESSING)
    assert str(caught.value) == f"{tmp_path}/source/rows.csv, row 2501: the image is neither PNG nor JPEG"
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    "runner, stop",
    [("in_memory", signal.SIGINT), ("in_memory", signal.SIGKILL), ("processes", signal.SIGINT)],
)
def test_a_build_that_is_stopped_leaves_nothing_that_looks_complete(folder, make_workspace, runner, stop):
    workspace = make_workspace("work")
    command = ["model-patching", "data", "build", "folder", "--images", folder / "images"]
    command += ["--csv", folder / "rows.csv", "--label", "y", "--subgroup", "z", "--output", "out"]
    command = [*map(str, command), "--split-shares", "0.6,0.2,0.2"]
    # At a size that takes a while.
    options = ["--size", "256", *(f"--beam-arg={argument}" for argument in RUNNERS[runner])]
    process = workspace.start(*command, *options)
    while not (workspace.folder / ".out.partial" / ".scratch" / "converting.done").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(stop)
    output, _ = process.communicate(timeout=300)
    left = sorted(path.name for path in workspace.folder.glob("*out*"))
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert output.splitlines()[-1] == "interrupted; out is as it was before"
        assert left == []
    else:
        assert left == [".out.lock", ".out.partial"]
        code, output = workspace.run(*command)
        assert code == 0, output
        assert [path.name for path in workspace.folder.glob("*out*")] == ["out"]
