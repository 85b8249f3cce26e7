"""Tells the tracker what the report says: the table of groups, their chart and the verdict."""

from typing import Any

from model_patching.components.subgroup_report.figures import group_accuracy_figure, pixels
from model_patching.components.subgroup_report.verdict import verdict
from model_patching.components.tracking import Tracker

_SHOWN = ("count", "accuracy", "ci_low", "ci_high")
_SUMMARY = ("run_id", "blessed", "worst_group", "worst_group_accuracy", "average_accuracy", "subgroup_gap")


def track_report(summary: dict[str, Any], tracker: Tracker) -> None:
    """Adds them to the tracker's run, and to its summary.

    Args:
        summary: what `build_summary` made.
        tracker: is told; it is left open.
    """
    tracker.table(0, "groups", *_groups(summary))
    tracker.image(0, "group_accuracy", pixels(group_accuracy_figure(summary)))
    tracker.summary({"verdict": verdict(summary), **{key: summary[key] for key in _SUMMARY}})


def _groups(summary: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows: each group's figures, and the baseline's and how often predictions change, where known."""
    columns = ["group", *_SHOWN]
    rows = [[group["name"], *(group[key] for key in _SHOWN)] for group in summary["groups"]]
    if summary["baseline"]:
        columns += [f"baseline_{key}" for key in _SHOWN[1:]]
        for row, group in zip(rows, summary["baseline"]["groups"], strict=True):
            row += [group[key] for key in _SHOWN[1:]]
    if summary["consistency"]:
        columns.append("changed_by_renditions")
        for row, group in zip(rows, summary["consistency"], strict=True):
            row.append(group["share"])
    return columns, rows
