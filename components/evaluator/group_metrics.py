"""Worst-group accuracy, subgroup gap and average accuracy: the one place that computes them.

Groups are (label, subgroup) pairs; an array of shape [C, K] holds one value a group, C classes by K subgroups.
"""

from dataclasses import dataclass

import numpy as np
from statsmodels.stats.proportion import proportion_confint

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class GroupCounts:
    """One model's result on one split."""

    correct: np.ndarray  # int64 [C, K], examples of each group that the model classified correctly
    count: np.ndarray  # int64 [C, K], examples of each group


@dataclass(frozen=True)
class GroupMetrics:
    """What `group_metrics` found. NaN stands for "no examples to say it from"."""

    accuracy: np.ndarray  # float64 [C, K], NaN for a group without examples
    worst_group_accuracy: float  # the lowest accuracy of a group that has examples
    worst_group: tuple[int, int] | None  # its (label, subgroup), the first on a tie; None without examples
    subgroup_gap: np.ndarray  # float64 [C], highest − lowest accuracy within a class; NaN below two groups
    largest_subgroup_gap: float  # the largest of subgroup_gap
    average_accuracy: float  # mean over groups, weighted as the training split (or as `count` itself)


def group_metrics(
    correct: np.ndarray, count: np.ndarray, train_count: np.ndarray | None = None
) -> GroupMetrics:
    """Computes the metrics of one model on one split.

    Args:
        correct: [C, K], examples of each group that the model classified correctly.
        count: [C, K], examples of each group.
        train_count: [C, K], examples of each group in the training split, the weights of `average_accuracy`
            (Goel et al. 2020 report it so). Groups without examples here take no part. None weights by `count`,
            which makes `average_accuracy` the plain accuracy.

    Returns:
        GroupMetrics.

    Raises:
        ValueError: shapes that differ or aren't [C, K], a negative count, or more correct than there are.
    """
    correct, count = np.asarray(correct, np.float64), np.asarray(count, np.float64)
    weight = count if train_count is None else np.asarray(train_count, np.float64)
    if correct.ndim != 2 or not correct.shape == count.shape == weight.shape:
        raise ValueError(
            f"group counts need one shape [classes, subgroups], got correct {correct.shape}, "
            f"count {count.shape}, train_count {weight.shape}"
        )
    if (correct < 0).any() or (correct > count).any() or (weight < 0).any():
        raise ValueError(
            f"group counts must hold 0 <= correct <= count, got {correct.tolist()} of {count.tolist()}"
        )

    seen = count > 0
    accuracy = np.divide(correct, count, out=np.full(count.shape, np.nan), where=seen)
    if not seen.any():
        return GroupMetrics(accuracy, np.nan, None, np.full(len(count), np.nan), np.nan, np.nan)

    label, subgroup = np.unravel_index(np.nanargmin(accuracy), accuracy.shape)
    gap = np.array(
        [np.ptp(row[has]) if has.sum() > 1 else np.nan for row, has in zip(accuracy, seen, strict=True)]
    )
    weight = np.where(seen, weight, 0)
    return GroupMetrics(
        accuracy=accuracy,
        worst_group_accuracy=float(accuracy[label, subgroup]),
        worst_group=(int(label), int(subgroup)),
        subgroup_gap=gap,
        largest_subgroup_gap=float(np.nanmax(gap)) if np.isfinite(gap).any() else np.nan,
        average_accuracy=float((np.where(seen, accuracy, 0) * weight).sum() / weight.sum())
        if weight.sum() > 0
        else np.nan,
    )


def wilson_interval(correct: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % Wilson score interval of each group's accuracy (Wilson 1927).

    Args:
        correct, count: arrays of one shape, as in `group_metrics`.

    Returns:
        (low, high), float64 arrays of that shape, NaN where a group has no examples.
    """
    count = np.asarray(count, np.float64)
    low, high = proportion_confint(
        np.asarray(correct, np.float64), np.where(count > 0, count, 1), alpha=1 - _CONFIDENCE, method="wilson"
    )
    return np.where(count > 0, low, np.nan), np.where(count > 0, high, np.nan)
