"""The table of groups that a run ends with on the terminal."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from model_patching.components.subgroup_report.text import apart, interval, missed_by, percent, points


def groups_table(summary: dict[str, Any]) -> Table:
    """Group, count, accuracy and 95 % interval; with a baseline, its accuracy and the change. Worst group marked.

    Args:
        summary: what `build_summary` made, or `summary.json` read back.
    """
    baseline = summary["baseline"]
    table = Table()
    table.add_column("group", no_wrap=True)
    for heading in ("examples", "accuracy", "95 %\ninterval"):
        table.add_column(heading, justify="right", no_wrap=True)
    if baseline:
        name = escape(baseline["method"] or baseline["kind"].replace("_", " "))
        table.add_column(f"baseline\n({name})", justify="right", no_wrap=True)
        table.add_column("change", justify="right", no_wrap=True)

    for index, group in enumerate(summary["groups"]):
        is_worst = group["name"] == summary["worst_group"]
        cells = [
            escape(group["name"]) + (" ← worst" if is_worst else ""),
            f"{group['count']:,}",
            percent(group["accuracy"]),
            interval(group),
        ]
        if baseline:
            before = baseline["groups"][index]["accuracy"]
            cells += [percent(before), points(group["accuracy"], before)]
        table.add_row(*cells, style="bold" if is_worst else "")
    return table


def missed_table(summary: dict[str, Any]) -> Table:
    """The thresholds that were missed: what was asked for, what was found, and how far apart they are."""
    table = Table()
    table.add_column("missed", no_wrap=True)
    for heading in ("asked for", "found", "missed by"):
        table.add_column(heading, justify="right", no_wrap=True)
    for missed in summary["missed_thresholds"]:
        name = missed["threshold"] + (f" of {missed['slice']}" if missed["slice"] else "")
        table.add_row(escape(name), *apart(missed["asked"], missed["found"]), missed_by(missed["missed_by"]))
    return table
