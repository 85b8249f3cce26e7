"""Reading the trainers' ModelRun folders and the runner's timings."""

import json

import pytest

from model_patching.components.subgroup_report.model_run import read_sheets, read_training
from model_patching.components.subgroup_report.timings import read_timings


@pytest.fixture
def run(tmp_path):
    (tmp_path / "sheets").mkdir()
    (tmp_path / "training.json").write_text('{"label": 1}')
    for step in (900, 1200, 100):
        (tmp_path / "sheets" / f"step-{step}.png").write_bytes(str(step).encode())
    (tmp_path / "sheets" / "notes.txt").write_text("not a sheet")
    return tmp_path


def test_latest_sheets_come_first(run, dataset):
    sheets = read_sheets(str(run), dataset, latest=2)
    assert [(sheet.title, sheet.png) for sheet in sheets] == [
        ("odd, step-1200", b"1200"),
        ("odd, step-900", b"900"),
    ]
    assert len(read_sheets(str(run), dataset, latest=20)) == 3
    assert read_sheets(str(run), dataset, latest=0) == []


def test_a_model_of_all_classes(run, dataset):
    (run / "training.json").write_text('{"label": null}')
    assert read_sheets(str(run), dataset, latest=1)[0].title == "all classes, step-1200"


def test_no_sheets(tmp_path, dataset):
    assert read_sheets(str(tmp_path), dataset, latest=1) == []


def test_missing_or_broken_training(tmp_path):
    with pytest.raises(ValueError, match="training.json can't be read"):
        read_training(str(tmp_path))
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(ValueError, match="training.json can't be read"):
        read_training(str(tmp_path))


def test_timings(tmp_path):
    nodes = {"Trainer": {"seconds": 3, "cached": False}, "ExampleGen": {"seconds": 0.2, "cached": True}}
    (tmp_path / "run-1.json").write_text(json.dumps(nodes))
    seconds, cached = read_timings(str(tmp_path), "run-1")
    assert list(seconds.items()) == [("Trainer", 3.0), ("ExampleGen", 0.2)]
    assert cached == {"ExampleGen"}
    assert read_timings(str(tmp_path), "run-2") == ({}, set())
    assert read_timings("", "run-1") == ({}, set())


@pytest.mark.parametrize("content", ["{", "[]", '{"Trainer": 3}', '{"Trainer": {"seconds": 3}}'])
def test_broken_timings(tmp_path, content):
    (tmp_path / "run-1.json").write_text(content)
    with pytest.raises(ValueError, match="run-1.json has no node timings"):
        read_timings(str(tmp_path), "run-1")
