"""`data build mnist-correlation`, from the command line to the records."""

import json
import sys
from collections import Counter

import numpy as np
import pytest
from typer.testing import CliRunner

from model_patching.data import mnist_correlation, schema
from model_patching.data.mnist_digits import EmbeddedDigits
from model_patching.pipelines.cli import main

SMALL = ["--p", "0.9", "--class-size", "80", "--test-size", "24", "--min-group-size", "2"]
NO_BAD_DIGITS = "--skip-bad goes with --from npy: digits are read all or none, so there are no bad records\n"
NO_BEAM = "--beam-arg goes with --from npy: of digits, records are made in this process, without Beam\n"


@pytest.fixture
def build(capfd):
    """Runs the command; returns its exit code and what it said on standard output and error."""

    def run(*arguments):
        result = CliRunner().invoke(main, ["data", "build", "mnist-correlation", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        captured = capfd.readouterr()
        return result.exit_code, captured.out + result.stdout, captured.err + result.stderr

    return run


def groups(folder, split):
    paths = sorted((folder / split).iterdir())
    records = [schema.deserialize(item) for item in schema.read_records(paths).as_numpy_iterator()]
    return Counter((record.label, record.subgroup) for record in records)


def test_of_the_embedded_digits(build, tmp_path):
    code, said, _ = build("--output", tmp_path / "out", *SMALL, "--seed", 3)
    assert code == 0 and said.endswith(f"{tmp_path}/out\n")
    assert "│ even / zigzag │     4 │" in said and "│ all           │    80 │         80 │   24 │" in said
    assert groups(tmp_path / "out", "train") == {(0, 0): 36, (0, 1): 4, (1, 0): 4, (1, 1): 36}
    # As a pipeline's own configuration makes them.
    settings = mnist_correlation.MnistCorrelationSettings(
        p=0.9, class_size=80, test_size=24, min_group_size=2
    )
    assert mnist_correlation.build(settings, 3, tmp_path / "same") == json.loads(
        (tmp_path / "out" / "manifest.json").read_text()
    )

    code, said, _ = build("--output", tmp_path / "out", *SMALL, "--seed", 3)
    assert code == 0 and said.endswith(f"{tmp_path}/out: nothing to do, it was made of the same before\n")
    assert said.index("train") < said.index("validation") < said.index("test")
    code, _, error = build("--output", tmp_path / "out", *SMALL)
    assert code == 2 and error.startswith(f"{tmp_path}/out holds data made with other settings")


def test_a_full_disk_is_told_and_nothing_is_left(build, small_disk):
    code, _, error = build("--output", small_disk / "out", "--class-size", 1000)
    assert code == 2 and error == f"{small_disk}: can't be written: No space left on device\n"
    assert list(small_disk.iterdir()) == []


def test_with_several_corruptions(build, tmp_path):
    corruptions = ["--corruption", "dotted_line", "--corruption", "stripe"]
    code, said, _ = build("--output", tmp_path / "out", *SMALL, *corruptions)
    assert code == 0 and "even / dotted_line" in said and "odd / stripe" in said
    assert groups(tmp_path / "out", "train")[1, 1] == 36
    assert groups(tmp_path / "out", "test") == {(y, z): 4 for y in range(2) for z in range(3)}


@pytest.fixture
def arrays(tmp_path):
    """The released arrays, as far as is known, of a few digits."""
    digits = EmbeddedDigits(("zigzag",), 1).read()
    folder = tmp_path / "mnist_correlation_npy"
    folder.mkdir()
    for split, (name, first, count) in {
        "train": ("train", 0, 40),
        "val": ("train", 40, 20),
        "test": ("test", 0, 30),
    }.items():
        chosen = slice(first, first + count)
        subgroups = np.arange(count) % 2
        pixels = np.stack([images[chosen] for images in digits[name].images])[subgroups, np.arange(count)]
        np.save(folder / f"{split}_images.npy", pixels)
        np.save(folder / f"{split}_labels.npy", digits[name].labels[chosen])
        np.save(folder / f"{split}_subgroups.npy", subgroups)
    return folder


def test_of_the_released_arrays(build, tmp_path, arrays):
    code, said, _ = build("--from", "npy", "--source", tmp_path, "--output", tmp_path / "out")
    assert code == 0 and "even / zigzag" in said
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["dataset"]["subgroups"] == ["clean", "zigzag"]
    for split, name, count in (("train", "train", 40), ("validation", "val", 20), ("test", "test", 30)):
        parity = np.load(arrays / f"{name}_labels.npy") % 2
        expected = Counter(zip(parity.tolist(), (np.arange(count) % 2).tolist(), strict=True))
        assert groups(tmp_path / "out", split) == expected
        assert manifest["counts"][split] == [[expected[y, z] for z in (0, 1)] for y in (0, 1)]


def test_bad_records_of_the_released_arrays_are_skipped(build, tmp_path, arrays):
    subgroups = np.arange(40) % 2
    subgroups[7] = 2
    np.save(arrays / "train_subgroups.npy", subgroups)
    options = ["--from", "npy", "--source", tmp_path, "--output", tmp_path / "out"]
    bad = f"{arrays}/train_images.npy, record 7: subgroup 2 is not between 0 and 1"
    code, _, error = build(*options)
    assert code == 2 and error == f"{bad}\n"
    code, _, error = build(*options, "--skip-bad", 1, "--beam-arg=--direct_num_workers=many")
    assert code == 2 and error.startswith("Beam doesn't take its options: argument --direct_num_work")
    code, said, _ = build(*options, "--skip-bad", 1)
    assert code == 0 and f"skipped: {bad}\n" in said
    assert sum(groups(tmp_path / "out", "train").values()) == 39


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--corruption", "fog"],
            "--corruption: Input should be 'zigzag', 'dotted_line', 'stripe' or 'translate'",
        ),
        (["--p", "1"], "--p: Input should be less than 1, got 1.0\n"),
        (["--class-size", "40"], "p 0.99 and class_size 40 leave a group of train empty\n"),
        (["--from", "tfds"], "tensorflow_datasets can't be imported ("),
        (["--tfds-dir", "x"], "--tfds-dir goes with --from tfds\n"),
        (["--source", "x"], "--source and --mirror go with --from npy\n"),
        (["--download"], "--download goes with --from tfds and --from npy; the embedded digits are there\n"),
        (["--skip-bad", "1"], NO_BAD_DIGITS),
        (["--from", "tfds", "--skip-bad", "1"], NO_BAD_DIGITS),
        (["--beam-arg=--x"], NO_BEAM),
        (["--from", "tfds", "--beam-arg=--x"], NO_BEAM),
        (["--from", "npy", "--p", "0.9"], "the released arrays are as they are: "),
        (
            ["--from", "npy"],
            "give the folder that has the data set with --source, or fetch it with --download\n",
        ),
        (["--from", "npy", "--source", "nothing"], "nothing: no array could be the images of train; "),
        (["--from", "npy", "--mirror", "x"], "--mirror goes with --download\n"),
    ],
)
def test_wrong_arguments_are_one_line(build, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    code, _, error = build("--output", "out", *arguments)
    assert code == 2 and error.startswith(message) and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
