"""The closing table on the terminal."""

import io

import numpy as np
from rich.console import Console

from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.table import groups_table, missed_table
from model_patching.data.dataset import Dataset


def _lines(summary, make=groups_table):
    console = Console(file=io.StringIO(), width=80)
    console.print(make(summary))
    return console.file.getvalue().splitlines()


def _cells(line):
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_rows(summarize):
    rows = [_cells(line) for line in _lines(summarize()) if line.startswith("│")]
    assert rows[1] == ["even / zigzag", "100", "92.0 %", "85.0–95.9 %", "10.0 %", "+82.0"]
    assert rows[2] == ["odd / clean ← worst", "50", "90.0 %", "78.6–95.7 %", "4.0 %", "+86.0"]
    assert sum("worst" in row[0] for row in rows) == 1


def test_fits_eighty_columns(summarize):
    assert not any("…" in line for line in _lines(summarize()))


def test_without_a_baseline(summarize):
    summary = summarize(baseline=None, evaluator=EvaluatorSettings(baseline="none"))
    rows = [_cells(line) for line in _lines(summary) if line.startswith("│")]
    assert rows[0] == ["even / clean", "100", "95.0 %", "88.8–97.8 %"]


def test_names_are_not_markup(summarize):
    dataset = Dataset(classes=("[red]even", "odd"), subgroups=("clean", "zigzag"), image_shape=(28, 28, 1))
    assert any("[red]even / clean" in line for line in _lines(summarize(dataset=dataset)))


def test_missed_thresholds(summarize):
    summary = summarize(
        evaluator=EvaluatorSettings(
            baseline="erm", min_worst_group_accuracy=0.95, min_slice_accuracy={"odd / clean": 0.5}
        ),
        blessed=False,
    )
    rows = [_cells(line) for line in _lines(summary, missed_table) if line.startswith("│")]
    assert rows == [
        ["min_worst_group_accuracy", "95.0 %", "90.0 %", "5.0 points"],
        ["min_slice_accuracy of odd / clean", "50.0 %", "–", "–"],
    ]


def test_a_small_miss_can_be_seen(summarize):
    """899,700 of a million are 89.97 %."""
    counts = GroupCounts(np.array([[950_000, 950_000], [899_700, 950_000]]), np.full([2, 2], 1_000_000))
    evaluator = EvaluatorSettings(baseline="none", min_worst_group_accuracy=0.9)
    summary = summarize(candidate=counts, baseline=None, evaluator=evaluator, blessed=False)
    rows = [_cells(line) for line in _lines(summary, missed_table) if line.startswith("│")]
    assert rows == [["min_worst_group_accuracy", "90.00 %", "89.97 %", "0.03 points"]]
