"""A run's outcome in words, the same in the report and on the terminal."""

from typing import Any

from model_patching.components.evaluator.settings import ROUNDING
from model_patching.components.subgroup_report.text import percent, points


def verdict(summary: dict[str, Any]) -> str:
    """The worst group before and after, the average, and what the gate says: "blessed: worst group 97.8 % …".

    Args:
        summary: what `build_summary` made, or `summary.json` read back.

    Returns:
        One line without a capital letter or full stop. Where the model wasn't blessed, it names the missed thresholds.
    """
    worst, baseline = summary["worst_group_accuracy"], summary["baseline"]
    if worst is None:
        return "not blessed: the test split has no examples"
    outcome = f"worst group {percent(worst)} ({summary['worst_group']})"
    if baseline:
        before = baseline["worst_group_accuracy"]
        outcome += (
            f", {points(worst, before)} points from {baseline_name(summary)}'s "
            f"{percent(before)} ({baseline['worst_group']})"
        )
    outcome += f", average {percent(summary['average_accuracy'])}"
    if summary["blessed"] is None:
        return f"not gated: {outcome}"
    if summary["blessed"]:
        return f"blessed: {outcome}"
    return f"not blessed: {'; '.join([outcome, *missed_thresholds(summary)])}"


def baseline_name(summary: dict[str, Any]) -> str | None:
    """What the baseline is, to a reader: "the ERM model"."""
    if summary["baseline"] is None:
        return None
    names = {"erm": "the ERM model", "last_blessed": "the last blessed model", "predictions": "the baseline"}
    return names[summary["baseline"]["kind"]]


def missed_thresholds(summary: dict[str, Any]) -> list[str]:
    """What was asked for and not reached, a phrase for each threshold; a threshold that is None asks for nothing."""
    thresholds, worst = summary["thresholds"], summary["worst_group_accuracy"]
    lowest, widest = thresholds["min_worst_group_accuracy"], thresholds["max_subgroup_gap"]
    drop, gap = thresholds["max_worst_group_drop"], summary["subgroup_gap"]["largest"]
    reasons = []
    if lowest is not None and worst < lowest - ROUNDING:
        reasons.append(f"at least {percent(lowest)} was asked for")
    if widest is not None and (gap is None or gap > widest + ROUNDING):
        reasons.append(f"the largest subgroup gap is {percent(gap)}, at most {percent(widest)} was asked for")
    before = summary["baseline"] and summary["baseline"]["worst_group_accuracy"]
    if None not in (drop, before) and worst < before - drop - ROUNDING:
        reasons.append(f"at most {percent(drop)} below {baseline_name(summary)}'s was asked for")
    return reasons
