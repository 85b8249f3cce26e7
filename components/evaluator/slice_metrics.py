"""Metrics of a model's predictions, slice by slice: of all examples, each class, each subgroup and each group.

fairlearn's MetricFrame takes scikit-learn's metrics apart by slice. It hands a metric one value after the other, which
takes a second for each million. So it is given a row for each different (label, subgroup, prediction), weighted by how
often that occurs, and what needs an example's probabilities is computed beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score, roc_auc_score

from model_patching.components.evaluator.calibration import calibration_error
from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.predictions import Predictions

_LABEL, _SUBGROUP, _PREDICTION, _COUNT = "label", "subgroup", "prediction", "count"
_SLICES = ((), (_LABEL,), (_SUBGROUP,), (_LABEL, _SUBGROUP))


@dataclass(frozen=True)
class ProbabilityMetrics:
    """What only a model that gives probabilities can be measured by."""

    cross_entropy: (
        float  # natural logarithm; probabilities are clipped to float64's epsilon, as scikit-learn does
    )
    calibration_error: float  # see `calibration_error`
    auc: np.ndarray | None  # float64 [C], each class against the rest; NaN where all or no examples are of it


@dataclass(frozen=True)
class SliceMetrics:
    """One slice. The arrays, and `auc`, are None in slices of one class, of which they can't say anything."""

    label: int | None  # None for all classes
    subgroup: int | None  # None for all subgroups
    count: int
    correct: int
    precision: np.ndarray | None  # float64 [C], NaN for a class that was never predicted
    recall: np.ndarray | None  # float64 [C], NaN for a class without examples
    confusion_matrix: np.ndarray | None  # int64 [C, C], rows are labels and columns predictions
    probability: ProbabilityMetrics | None  # None without probabilities


def slice_metrics(predictions: Predictions) -> list[SliceMetrics]:
    """Computes the metrics of every slice that has examples: all, each class, each subgroup, each group."""
    num_classes = predictions.groups.num_classes
    examples = pd.DataFrame(
        {
            _LABEL: predictions.label,
            _SUBGROUP: predictions.subgroup,
            _PREDICTION: predictions.prediction,
        }
    )
    cells = examples.value_counts().reset_index(name=_COUNT)
    return [
        SliceMetrics(
            label=label,
            subgroup=subgroup,
            count=int(found["count"]),
            correct=int(found["correct"]),
            **{
                name: found[name] if label is None else None
                for name in ("precision", "recall", "confusion_matrix")
            },
            probability=_probability_metrics(predictions, label, subgroup),
        )
        for by in _SLICES
        for (label, subgroup), found in _counted(cells, by, num_classes)
    ]


def group_counts(slices: Sequence[SliceMetrics], num_classes: int, num_subgroups: int) -> GroupCounts:
    """The counts of the groups among the slices, for `group_metrics`; a group without a slice has no examples."""
    shape = num_classes, num_subgroups
    counts = GroupCounts(correct=np.zeros(shape, np.int64), count=np.zeros(shape, np.int64))
    for found in slices:
        if found.label is not None and found.subgroup is not None:
            counts.correct[found.label, found.subgroup] = found.correct
            counts.count[found.label, found.subgroup] = found.count
    return counts


def _counted(
    cells: pd.DataFrame, by: Sequence[str], num_classes: int
) -> Iterator[tuple[tuple[int | None, int | None], pd.Series]]:
    """The metrics that follow from counts: (label or None, subgroup or None) and their values, of each slice."""
    classes = range(num_classes)
    metrics = {
        "count": lambda label, prediction, sample_weight: sample_weight.sum(),
        "correct": partial(accuracy_score, normalize=False),
        "precision": partial(precision_score, labels=classes, average=None, zero_division=np.nan),
        "recall": partial(recall_score, labels=classes, average=None, zero_division=np.nan),
        "confusion_matrix": partial(confusion_matrix, labels=classes),
    }
    frame = MetricFrame(
        metrics=metrics,
        y_true=cells[_LABEL],
        y_pred=cells[_PREDICTION],
        # It must have a feature; which one doesn't matter to the metrics of all examples.
        sensitive_features=cells[list(by or [_LABEL])],
        sample_params={name: {"sample_weight": cells[_COUNT]} for name in metrics},
    )
    if not by:
        yield (None, None), frame.overall
        return
    for key, found in frame.by_group.iterrows():
        values = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        if not pd.isna(found["count"]):  # the frame has a row for each combination, with examples or without
            yield (values.get(_LABEL), values.get(_SUBGROUP)), found


def _probability_metrics(
    predictions: Predictions, label: int | None, subgroup: int | None
) -> ProbabilityMetrics | None:
    if predictions.probabilities is None:
        return None
    chosen = np.ones(len(predictions.label), bool)
    if label is not None:
        chosen &= predictions.label == label
    if subgroup is not None:
        chosen &= predictions.subgroup == subgroup
    labels, guesses = predictions.label[chosen], predictions.prediction[chosen]
    probabilities = predictions.probabilities[chosen]
    rows = np.arange(len(labels))
    smallest = np.finfo(np.float64).eps
    return ProbabilityMetrics(
        cross_entropy=float(-np.log(np.clip(probabilities[rows, labels], smallest, 1 - smallest)).mean()),
        calibration_error=calibration_error(probabilities[rows, guesses], guesses == labels),
        auc=np.array([_auc(labels == y, probabilities[:, y]) for y in range(predictions.groups.num_classes)])
        if label is None
        else None,
    )


def _auc(is_of_class: np.ndarray, probability: np.ndarray) -> float:
    if is_of_class.all() or not is_of_class.any():
        return np.nan
    return roc_auc_score(is_of_class, probability)
