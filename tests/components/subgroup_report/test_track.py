"""What the tracker is told of a report."""

import json
import struct

import numpy as np
import pytest
from wandb.proto import wandb_internal_pb2

from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.track import track_report
from model_patching.components.tracking import TrackingSettings, open_tracker


def test_table_chart_and_verdict(summarize, notes):
    summary = summarize()
    track_report(summary, notes)
    rows = notes.tables["groups"]
    assert [row["group"] for row in rows] == ["even / clean", "even / zigzag", "odd / clean", "odd / zigzag"]
    assert rows[1]["accuracy"] == 0.92 and rows[1]["count"] == 100
    assert rows[1]["ci_low"] == summary["groups"][1]["ci_low"]
    assert [row["baseline_accuracy"] for row in rows] == [0.99, 0.1, 0.04, 1.0]
    assert [row["changed_by_renditions"] for row in rows] == [0.03, 0.2, None, 0.0]
    ((step, name, image),) = notes.images
    assert (step, name, image.dtype, image.shape[1:]) == (0, "group_accuracy", np.uint8, (840, 3))
    colours = {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}
    assert {(0x2F, 0x7F, 0xE0), (0xE0, 0x8A, 0x1E), (255, 255, 255)} <= colours
    assert notes.closing["verdict"].startswith("blessed: worst group 90.0 % (odd / clean), +86.0 points")
    assert notes.closing["worst_group_accuracy"] == 0.9 and notes.closing["blessed"] is True
    assert notes.closing["subgroup_gap"]["per_class"]["odd"] == pytest.approx(0.07)


def test_without_baseline_and_renditions(summarize, scores, notes):
    scores.rendered[:] = 0
    track_report(summarize(baseline=None, evaluator=EvaluatorSettings(baseline="none"), scores=scores), notes)
    assert list(notes.tables["groups"][0]) == ["group", "count", "accuracy", "ci_low", "ci_high"]


def _records(content):
    """The records of a `.wandb` file: LevelDB's log format after a header of 7 bytes."""
    position, data = 7, b""
    while position + 7 <= len(content):
        _, length, kind = struct.unpack_from("<IHB", content, position)
        position += 7
        data += content[position : position + length]
        position += length
        if kind in (1, 4):  # whole, or the last of several
            yield wandb_internal_pb2.Record.FromString(data)
            data = b""
        if 32768 - position % 32768 < 7:  # no room for another in this block
            position += 32768 - position % 32768


def test_wandb_has_them_in_its_runs_summary(summarize, tmp_path):
    """The offline files, read as `wandb sync` reads them."""
    tracker = open_tracker(TrackingSettings(mode="offline"), "SubgroupReport", {}, tmp_path)
    track_report(summarize(), tracker)
    tracker.finish()
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = run.glob("run-*.wandb")
    told = {}
    for record in _records(file.read_bytes()):
        for item in record.summary.update:
            told[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    assert told["verdict"].startswith("blessed: worst group 90.0 %")
    assert told["worst_group"] == "odd / clean"
    assert (told["groups._type"], told["groups.nrows"]) == ("table-file", 4)
    assert (told["group_accuracy._type"], told["group_accuracy.width"]) == ("image-file", 840)
    for key in ("groups", "group_accuracy"):
        assert (run / "files" / told[f"{key}.path"]).is_file()
