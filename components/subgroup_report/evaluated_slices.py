"""The slices of `summary.json` from what the Evaluator wrote."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from model_patching.components.evaluator.eval_config import binarized
from model_patching.components.evaluator.group_metrics import wilson_interval
from model_patching.components.subgroup_report.summary import EvaluatedSlices, number
from model_patching.components.subgroup_report.tfma_values import Metric, interval_of, value_of
from model_patching.data.dataset import LABEL, SUBGROUP, Dataset

# The names that TFMA's metrics have in `summary.json`.
_OF_SLICE = {
    "accuracy": "sparse_categorical_accuracy",
    "cross_entropy": "sparse_categorical_crossentropy",
    "calibration_error": "calibration_error",
}
_OF_CLASS = ("auc", "precision", "recall")


def read_slices(path: str, dataset: Dataset) -> tuple[EvaluatedSlices, EvaluatedSlices | None]:
    """Reads a TFMA result that `components/evaluator/eval_config.py` has configured.

    Args:
        path: folder of the ModelEvaluation artifact.
        dataset: names of classes and subgroups.

    Returns:
        (the candidate's slices, the baseline's or None): all examples, each class, subgroup and group, and then the
        further slices; those that have examples.
    """
    candidate = tfma.load_eval_result(path)
    if len(candidate.config.model_specs) == 1:  # TFMA leaves a single model without a name
        return _slices(candidate, dataset), None
    return (
        _slices(tfma.load_eval_result(path, model_name=tfma.CANDIDATE_KEY), dataset),
        _slices(tfma.load_eval_result(path, model_name=tfma.BASELINE_KEY), dataset),
    )


def _slices(result: tfma.EvalResult, dataset: Dataset) -> EvaluatedSlices:
    plots = dict(result.plots)
    found = []
    intervals = None
    for slice_key, outputs in sorted(result.slicing_metrics, key=lambda one: _place(one[0], result.config)):
        features = {_text(name): _text(value) for name, value in slice_key}
        metrics = outputs[""]
        if not features:
            intervals = _group_intervals(metrics, dataset)
        matrix = _confusion_matrix(plots[slice_key][""][""], dataset.num_classes)
        found.append(_slice(features, metrics, matrix, dataset))
    return EvaluatedSlices(found, intervals)


def _place(slice_key: tuple, config: config_pb2.EvalConfig) -> tuple:
    """Where a slice goes: first by the spec it is of, then by its values, numbers by size."""
    names = {name for name, _ in slice_key}
    spec = next(place for place, spec in enumerate(config.slicing_specs) if set(spec.feature_keys) == names)
    values = dict(slice_key)
    order = [values[name] for name in config.slicing_specs[spec].feature_keys]
    return spec, [(isinstance(value, str | bytes), value) for value in order]


def _slice(
    features: dict[str, Any],
    metrics: Mapping[str, Mapping[str, Metric]],
    matrix: np.ndarray,
    dataset: Dataset,
) -> dict[str, Any]:
    """One slice of the summary.

    Args:
        features: what its examples have in common.
        metrics: by sub key ("" or "classId:1") and name.
        matrix: int64 [C, C], labels by predictions.
        dataset: names.
    """
    further = dict(features)
    label, subgroup = further.pop(LABEL, None), further.pop(SUBGROUP, None)
    count, correct = int(matrix.sum()), int(matrix.trace())
    low, high = wilson_interval(np.array(correct), np.array(count))
    names = [
        *([dataset.classes[label]] if label is not None else []),
        *([dataset.subgroups[subgroup]] if subgroup is not None else []),
        *(f"{name}: {value}" for name, value in further.items()),
    ]
    of_slice = {name: metrics[""][theirs] for name, theirs in _OF_SLICE.items()}
    # Of one class alone they say nothing.
    of_classes = {name: _of_classes(name, metrics, matrix) if label is None else None for name in _OF_CLASS}
    has_intervals = interval_of(of_slice["accuracy"]) is not None
    return {
        "label": label,
        "subgroup": subgroup,
        "features": further,
        "name": " / ".join(names) or "all",
        "count": count,
        "accuracy": correct / count,
        "ci_low": float(low),
        "ci_high": float(high),
        "cross_entropy": number(value_of(of_slice["cross_entropy"])),
        "calibration_error": number(value_of(of_slice["calibration_error"])),
        **{
            name: found and [metric and number(value_of(metric)) for metric in found]
            for name, found in of_classes.items()
        },
        "confusion_matrix": matrix.tolist() if label is None else None,
        "intervals": {
            **{name: interval_of(metric) for name, metric in of_slice.items()},
            **{
                name: found and [metric and interval_of(metric) for metric in found]
                for name, found in of_classes.items()
            },
        }
        if has_intervals
        else None,
    }


def _of_classes(
    name: str, metrics: Mapping[str, Mapping[str, Metric]], matrix: np.ndarray
) -> list[Metric | None]:
    """A metric of each class; None where the slice can't tell it, of which TFMA says 0 for AUC."""
    num_classes = len(matrix)
    labelled = matrix.sum(axis=1)
    found: list[Metric | None] = []
    for label in range(num_classes):
        if name != "auc":
            found.append(metrics[f"classId:{label}"][name])
        elif 0 < labelled[label] < labelled.sum():
            computed = label if label in binarized(num_classes) else 1 - label
            found.append(metrics[f"classId:{computed}"][name])
        else:
            found.append(None)
    return found


def _confusion_matrix(plots: Mapping[str, Any], num_classes: int) -> np.ndarray:
    """int64 [C, C], rows are labels and columns predictions."""
    matrix = np.zeros([num_classes, num_classes], np.int64)
    (found,) = plots["multiClassConfusionMatrixAtThresholds"]["matrices"]
    for entry in found["entries"]:  # what is 0 is left out
        place = entry.get("actualClassId", 0), entry.get("predictedClassId", 0)
        matrix[place] = round(entry.get("numWeightedExamples", 0))
    return matrix


def _group_intervals(metrics: Mapping[str, Mapping[str, Metric]], dataset: Dataset) -> dict[str, Any] | None:
    """Intervals of what is said of all groups together."""
    worst = interval_of(metrics[""]["worst_group_accuracy"])
    if worst is None:
        return None
    return {
        "worst_group_accuracy": worst,
        "subgroup_gap": {
            "largest": interval_of(metrics[""]["subgroup_gap"]),
            "per_class": {
                name: interval_of(metrics[f"classId:{label}"]["class_subgroup_gap"])
                for label, name in enumerate(dataset.classes)
            },
        },
    }


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
