"""`model-patching runs` and `model-patching report`: the runs in ML Metadata and what their reports say."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from model_patching.components.subgroup_report.text import MISSING, percent
from model_patching.pipelines.console import print_table
from model_patching.pipelines.find_run import NoSuchRun, Run, find_run, list_runs

_REPORT = "SubgroupReport"  # the artifact's type, as `Run.artifacts` has it
_PAGE, _SUMMARY = "report.html", "summary.json"


def past_runs(root: Path) -> list[dict[str, Any]]:
    """What there is to know of each run under `root`, the latest first.

    Returns:
        JSON-ready; what can't be had is None. `verdict` is "blessed", "not blessed", "not gated", "failed: <node>",
        "no report" for a run that was interrupted or is still going on, or "report is gone".

    Raises:
        NoSuchRun: there is no ML Metadata.
    """
    return [_describe(run) for run in list_runs(root)]


def find_report(root: Path, run: str) -> Path:
    """The report of a run.

    Args:
        root, run: see `find_run`.

    Raises:
        NoSuchRun: there is no such run, or it has no report.
    """
    found = find_run(root, run, needs=_REPORT)
    path = found.folder(_REPORT) / _PAGE
    if not path.is_file():
        raise NoSuchRun(f"{path}: the report of run {found.run_id} is gone")
    return path


def say_runs(runs: Sequence[dict[str, Any]]) -> None:
    """Prints a table of what `past_runs` returned."""
    table = Table()
    for heading in ("run", "started", "pipeline", "method", "seed", "verdict", "worst group"):
        table.add_column(heading, no_wrap=heading == "run")
    for heading in ("accuracy", "average"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("report", overflow="fold")
    for run in runs:
        texts = [run["run_id"], run["started"].replace("T", " ")[:16]]
        texts += [
            MISSING if run[key] is None else str(run[key])
            for key in ("pipeline", "method", "seed", "verdict", "worst_group")
        ]
        texts += [percent(run["worst_group_accuracy"]), percent(run["average_accuracy"])]
        table.add_row(*map(escape, [*texts, run["report"] or MISSING]))
    print_table(table)


def _describe(run: Run) -> dict[str, Any]:
    folder = run.folder(_REPORT)
    summary = _read_summary(folder)
    return {
        "run_id": run.run_id,
        "started": run.started.isoformat(timespec="seconds"),
        "pipeline": run.pipeline,
        **{key: summary.get(key) for key in ("method", "seed")},
        "verdict": _verdict(run, summary),
        **{key: summary.get(key) for key in ("worst_group", "worst_group_accuracy", "average_accuracy")},
        "report": str(folder / _PAGE) if folder is not None and (folder / _PAGE).is_file() else None,
    }


def _read_summary(folder: Path | None) -> dict[str, Any]:
    """A run's `summary.json`; empty where there is none, or no longer."""
    if folder is None:
        return {}
    try:
        return json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _verdict(run: Run, summary: dict[str, Any]) -> str:
    if run.failed is not None:
        return f"failed: {run.failed}"
    if _REPORT not in run.artifacts:
        return "no report"
    if not summary:
        return "report is gone"
    return {True: "blessed", False: "not blessed", None: "not gated"}[summary["blessed"]]
