"""`model-patching evaluate`: groups, intervals, gap and report of any model's predictions. Loads no TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_patching.components.evaluator.predictions import (
    BadPredictions,
    Columns,
    Predictions,
    read_predictions,
)
from model_patching.components.subgroup_report.predictions_summary import summarize_predictions
from model_patching.components.subgroup_report.report import render
from model_patching.components.subgroup_report.summary import to_json
from model_patching.components.subgroup_report.table import groups_table, missed_table
from model_patching.components.subgroup_report.verdict import verdict
from model_patching.components.versions import versions
from model_patching.pipelines.console import print_table, say

__all__ = ["BadPredictions", "Columns", "evaluate_predictions"]


def evaluate_predictions(
    file: Path,
    baseline_file: Path | None,
    output: Path,
    *,
    columns: Columns,
    classes: Sequence[str] | None,
    subgroups: Sequence[str] | None,
    thresholds: dict[str, float | None],
    method: str | None,
    seed: int | None,
) -> bool:
    """Evaluates the predictions, prints the table of groups, and writes `report.html` and `summary.json`.

    Args:
        file: the predictions.
        baseline_file: another model's of the same examples.
        output: folder to write to.
        columns, classes, subgroups: see `read_predictions`.
        thresholds, method, seed: see `summarize_predictions`.

    Returns:
        Whether no threshold was missed.

    Raises:
        BadPredictions: the predictions can't be evaluated. Nothing was written.
        OSError: a result can't be written.
    """
    candidate = read_predictions(file, columns, classes, subgroups)
    baseline = None
    if baseline_file is not None:
        baseline = read_predictions(baseline_file, columns, classes, subgroups)
        _check_same_examples(file, candidate, baseline_file, baseline)
    summary = summarize_predictions(
        name=file.name,
        candidate=candidate,
        baseline=baseline,
        thresholds=thresholds,
        method=method,
        seed=seed,
        versions=versions(),
    )
    sources = {"predictions": str(file)} | ({} if baseline_file is None else {"baseline": str(baseline_file)})
    html = render(summary, sources=sources)

    output.mkdir(parents=True, exist_ok=True)
    report_path, summary_path = output / "report.html", output / "summary.json"
    report_path.write_text(html, encoding="utf-8")
    summary_path.write_text(to_json(summary), encoding="utf-8")
    print_table(groups_table(summary))
    if summary["missed_thresholds"]:
        print_table(missed_table(summary))
    say(verdict(summary), style="bold")
    say(f"report   {report_path}")
    say(f"figures  {summary_path}")
    return summary["blessed"] is not False


def _check_same_examples(
    file: Path, candidate: Predictions, baseline_file: Path, baseline: Predictions
) -> None:
    """Tells files of different data apart, as far as their groups show."""
    for what, option in (("classes", "--classes"), ("subgroups", "--subgroups")):
        ours, theirs = getattr(candidate.groups, what), getattr(baseline.groups, what)
        if ours != theirs:
            raise BadPredictions(
                f"{baseline_file}: its {what} are {', '.join(theirs)}, those of {file} {', '.join(ours)}; "
                f"{option} lists them for both"
            )
    counts = [
        np.bincount(
            one.label * one.groups.num_subgroups + one.subgroup, minlength=candidate.groups.num_groups
        )
        for one in (candidate, baseline)
    ]
    for name, ours, theirs in zip(candidate.groups.group_names, *counts, strict=True):
        if ours != theirs:
            raise BadPredictions(
                f"{baseline_file}: {theirs:,} rows are of group '{name}', in {file} {ours:,}; both must be of the same "
                "examples"
            )
