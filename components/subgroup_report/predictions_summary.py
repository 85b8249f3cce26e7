"""`summary.json` of predictions that come from anywhere, see `components/evaluator/predictions.py`."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from model_patching.components.evaluator.group_metrics import wilson_interval
from model_patching.components.evaluator.predictions import Predictions
from model_patching.components.evaluator.slice_metrics import SliceMetrics, group_counts, slice_metrics
from model_patching.components.subgroup_report.missed_thresholds import missed_thresholds
from model_patching.components.subgroup_report.summary import model_block, number
from model_patching.data.dataset import Groups


def summarize_predictions(
    *,
    name: str,
    candidate: Predictions,
    baseline: Predictions | None,
    thresholds: dict[str, float | None],
    method: str | None,
    seed: int | None,
    versions: dict[str, str],
) -> dict[str, Any]:
    """Builds the summary of a model's predictions.

    Args:
        name: of the data.
        candidate, baseline: predictions of the same examples.
        thresholds: `min_worst_group_accuracy`, `max_subgroup_gap`, `max_worst_group_drop`; None asks for nothing.
        method, seed: how the model was trained, for comparisons; None where nobody says.
        versions: of the packages that made the report.

    Returns:
        What `build_summary` returns, with None for what only a run knows. Nothing is known of the training split, so
        every example weighs the same in the average.
    """
    groups = candidate.groups
    summary = {
        "pipeline": None,
        "run_id": None,
        "dataset": {"name": name, **groups.model_dump(mode="json"), "image_shape": None},
        **_model_block(candidate),
        "method": method,
        "seed": seed,
        "blessed": None,
        "thresholds": thresholds,
        "baseline": None if baseline is None else {"kind": "predictions", **_model_block(baseline)},
        "missed_thresholds": [],
        "consistency": None,
        "mistakes": [],
        "translation": None,
        "data": None,
        "timings": {},
        "lineage": [],
        "versions": versions,
    }
    if any(threshold is not None for threshold in thresholds.values()):
        summary["missed_thresholds"] = missed_thresholds(summary)
        summary["blessed"] = not summary["missed_thresholds"]
    return summary


def _model_block(predictions: Predictions) -> dict[str, Any]:
    groups = predictions.groups
    slices = slice_metrics(predictions)
    counts = group_counts(slices, groups.num_classes, groups.num_subgroups)
    return model_block(None, counts, None, groups, [_slice(found, groups) for found in slices])


def _slice(found: SliceMetrics, groups: Groups) -> dict[str, Any]:
    low, high = wilson_interval(np.array(found.correct), np.array(found.count))
    probability = found.probability
    return {
        "label": found.label,
        "subgroup": found.subgroup,
        "features": {},
        "name": _name(found, groups),
        "count": found.count,
        "accuracy": found.correct / found.count,
        "ci_low": float(low),
        "ci_high": float(high),
        "cross_entropy": probability and probability.cross_entropy,
        "calibration_error": probability and probability.calibration_error,
        "auc": probability and _numbers(probability.auc),
        "precision": _numbers(found.precision),
        "recall": _numbers(found.recall),
        "confusion_matrix": None if found.confusion_matrix is None else found.confusion_matrix.tolist(),
        "intervals": None,
    }


def _name(found: SliceMetrics, groups: Groups) -> str:
    parts = [
        names[position]
        for names, position in ((groups.classes, found.label), (groups.subgroups, found.subgroup))
        if position is not None
    ]
    return " / ".join(parts) or "all"


def _numbers(values: Iterable[float] | None) -> list[float | None] | None:
    return None if values is None else [number(value) for value in values]
