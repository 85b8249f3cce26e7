"""Reading the trainers' `training.json` and the runner's timings."""

import json

import pytest

from model_patching.components.subgroup_report.model_run import read_training
from model_patching.components.subgroup_report.timings import read_timings


def test_missing_or_broken_training(tmp_path):
    with pytest.raises(ValueError, match="training.json can't be read"):
        read_training(str(tmp_path))
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(ValueError, match="training.json can't be read"):
        read_training(str(tmp_path))


def test_timings(tmp_path):
    nodes = {"Trainer": {"seconds": 3, "cached": False}, "ExampleGen": {"seconds": 0.2, "cached": True}}
    (tmp_path / "run-1.json").write_text(json.dumps(nodes))
    # What a look-up in the cache took says nothing of the node.
    assert list(read_timings(str(tmp_path), "run-1").items()) == [("Trainer", 3.0), ("ExampleGen", None)]
    assert read_timings(str(tmp_path), "run-2") == {}
    assert read_timings("", "run-1") == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"Trainer": 3}', '{"Trainer": {"seconds": 3}}'])
def test_broken_timings(tmp_path, content):
    (tmp_path / "run-1.json").write_text(content)
    with pytest.raises(ValueError, match="run-1.json has no node timings"):
        read_timings(str(tmp_path), "run-1")
