"""A run's outcome in words, the same in the report and on the terminal."""

from typing import Any

from model_patching.components.subgroup_report.text import apart, missed_by, percent, points


def verdict(summary: dict[str, Any]) -> str:
    """The worst group before and after, the average, and what the gate says: "blessed: worst group 97.8 % …".

    Args:
        summary: what `build_summary` made, or `summary.json` read back.

    Returns:
        One line without a capital letter or full stop. Where the model wasn't blessed, it names the missed
        thresholds, and by how much. Where the gate and `missed_thresholds` disagree, it says so.
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
    reasons = [reason(missed, summary) for missed in summary["missed_thresholds"]]
    # The gate and the report count apart; should they ever disagree, nobody is to be told that all is well.
    if summary["blessed"]:
        reasons = reasons and ["but by the report's figures a threshold is missed", *reasons]
        return f"blessed: {'; '.join([outcome, *reasons])}"
    reasons = reasons or ["by the gate alone: by the report's figures no threshold is missed"]
    return f"not blessed: {'; '.join([outcome, *reasons])}"


def baseline_name(summary: dict[str, Any]) -> str | None:
    """What the baseline is, to a reader: "the ERM model"."""
    if summary["baseline"] is None:
        return None
    names = {"erm": "the ERM model", "last_blessed": "the last blessed model", "predictions": "the baseline"}
    return names[summary["baseline"]["kind"]]


def reason(missed: dict[str, Any], summary: dict[str, Any]) -> str:
    """A missed threshold as a phrase: what was asked for, and by how much it is missed.

    Args:
        missed: one of `summary["missed_thresholds"]`.
        summary: names the baseline.
    """
    asked, found = apart(missed["asked"], missed["found"])
    of_slice = missed["slice"]
    baseline = f"{baseline_name(summary)}'s" if summary["baseline"] else ""
    no_gap = "no class has two groups with examples"
    phrase = {
        "min_worst_group_accuracy": f"at least {asked} was asked for",
        "min_slice_accuracy": f"of {of_slice} at least {asked} was asked for, "
        + ("but it has no examples" if missed["found"] is None else f"and it is {found}"),
        "max_subgroup_gap": f"a gap of at most {asked} was asked for, but {no_gap}"
        if missed["found"] is None
        else f"the largest subgroup gap is {found}, at most {asked} was asked for",
        "max_worst_group_drop": f"at most {asked} below {baseline} was asked for",
        "max_accuracy_drop": f"of all examples at most {asked} below {baseline} was asked for",
        "max_gap_rise": f"the largest subgroup gap may be at most {asked} above {baseline}"
        + (f", but {no_gap}" if missed["found"] is None else ""),
    }[missed["threshold"]]
    return phrase if missed["missed_by"] is None else f"{phrase} (missed by {missed_by(missed['missed_by'])})"
