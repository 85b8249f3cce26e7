"""Which of the gate's thresholds a model has missed, and by how much."""

from typing import Any

from model_patching.components.evaluator.settings import ACCURACY_ROUNDING, ROUNDING

_RISES = ("max_subgroup_gap", "max_worst_group_drop", "max_accuracy_drop", "max_gap_rise")


def missed_thresholds(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The thresholds that were asked for and not reached. The gate, TFMA, comes to the same by itself.

    Args:
        summary: with `thresholds` and the figures of the model and the baseline. A threshold that is None or isn't
            there asks for nothing; without a baseline nothing is compared with it.

    Returns:
        A row for each: `threshold`, its name; `slice`, the slice's name for `min_slice_accuracy`, else None; `asked`;
        `found`, what it is held against, None where there are no examples to say it from; `missed_by`, a positive
        number or None.
    """
    asked, baseline = summary["thresholds"], summary["baseline"]
    rows = [
        ("min_worst_group_accuracy", None, summary["worst_group_accuracy"], ROUNDING),
        *(
            ("min_slice_accuracy", name, _accuracy(summary, name), ACCURACY_ROUNDING)
            for name in asked.get("min_slice_accuracy") or {}
        ),
        ("max_subgroup_gap", None, summary["subgroup_gap"]["largest"], ROUNDING),
    ]
    if baseline is not None:
        rows += [
            (
                "max_worst_group_drop",
                None,
                _difference(baseline["worst_group_accuracy"], summary["worst_group_accuracy"]),
                ROUNDING,
            ),
            (
                "max_accuracy_drop",
                None,
                _difference(_accuracy(baseline), _accuracy(summary)),
                ACCURACY_ROUNDING,
            ),
            (
                "max_gap_rise",
                None,
                _difference(summary["subgroup_gap"]["largest"], baseline["subgroup_gap"]["largest"]),
                ROUNDING,
            ),
        ]
    missed = []
    for name, of_slice, found, rounding in rows:
        threshold = asked.get(name) if of_slice is None else asked[name][of_slice]
        if threshold is None:
            continue
        by = None if found is None else found - threshold if name in _RISES else threshold - found
        if by is None or by > rounding:
            row = {"threshold": name, "slice": of_slice, "asked": threshold, "found": found, "missed_by": by}
            missed.append(row)
    return missed


def _accuracy(model: dict[str, Any], name: str = "all") -> float | None:
    """Accuracy of a slice of all examples, a class, a subgroup or a group; None where it has no examples."""
    for found in model["slices"] or ():
        if found["name"] == name and not found["features"]:
            return found["accuracy"]
    return None


def _difference(value: float | None, other: float | None) -> float | None:
    return None if None in (value, other) else value - other
