"""The closing table on the terminal."""

import io

from rich.console import Console

from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.table import groups_table
from model_patching.data.dataset import Dataset


def _lines(summary):
    console = Console(file=io.StringIO(), width=80)
    console.print(groups_table(summary))
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
