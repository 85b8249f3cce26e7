"""Metrics of each class from what was collected of a slice, by hand; test_eval_config.py runs them through TFMA."""

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.multi_class_confusion_matrix_metrics import Matrices, MatrixEntryKey
from tensorflow_model_analysis.proto import config_pb2

from model_patching.components.evaluator.prediction_metrics import (
    CalibrationError,
    ClassPrecision,
    ClassRecall,
)
from model_patching.components.evaluator.worst_group import ClassSubgroupGap, SubgroupGap, WorstGroupAccuracy

# 3 classes by 4 subgroups; class 1 has one group with examples, class 2 has none.
COUNT = np.array([[10, 5, 0, 20], [0, 4, 0, 0], [0, 0, 0, 0]])
CORRECT = np.array([[9, 4, 0, 10], [0, 1, 0, 0], [0, 0, 0, 0]])
BINS = np.array([0.5, -1.5, *[0.0] * 13])


def values(metric, collected, **options):
    """What the metric derives, by (name, class)."""
    computations = metric.computations(eval_config=config_pb2.EvalConfig(), model_names=[""], **options)
    derived = computations[-1].result(dict(zip(computations[0].keys, collected, strict=True)))
    return {(key.name, key.sub_key and key.sub_key.class_id): value for key, value in derived.items()}


def test_the_gap_of_each_class():
    found = values(ClassSubgroupGap(3, 4), [np.stack([CORRECT, COUNT]), BINS])
    assert found == pytest.approx(
        {
            ("class_subgroup_gap", 0): 0.9 - 0.5,
            ("class_subgroup_gap", 1): np.nan,  # one group alone
            ("class_subgroup_gap", 2): np.nan,  # no examples
        },
        nan_ok=True,
    )


def test_the_gap_of_the_classes_that_are_asked_for():
    asked = [tfma.metrics.SubKey(class_id=0)]
    found = values(ClassSubgroupGap(3, 4), [np.stack([CORRECT, COUNT]), BINS], sub_keys=asked)
    assert found == pytest.approx({("class_subgroup_gap", 0): 0.4})


def test_all_groups_together():
    collected = [np.stack([CORRECT, COUNT]), BINS]
    assert values(WorstGroupAccuracy(3, 4), collected) == {("worst_group_accuracy", None): 0.25}
    assert values(SubgroupGap(3, 4), collected) == pytest.approx({("subgroup_gap", None): 0.4})
    # 39 examples
    assert values(CalibrationError(3, 4), collected) == pytest.approx({("calibration_error", None): 2 / 39})


@pytest.mark.parametrize("kind", [ClassSubgroupGap, SubgroupGap, WorstGroupAccuracy, CalibrationError])
def test_without_examples(kind):
    found = values(kind(3, 4), [np.zeros([2, 3, 4], int), np.zeros(15)])
    assert all(np.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    ("kind", "expected"), [(ClassPrecision, [3 / 5, 1 / 2, np.nan]), (ClassRecall, [3 / 4, 1 / 2, 0.0])]
)
def test_precision_and_recall(kind, expected):
    cells = {(0, 0): 3, (0, 1): 1, (1, 0): 1, (1, 1): 1, (2, 0): 1}
    matrices = Matrices({0.0: {MatrixEntryKey(*place): count for place, count in cells.items()}})
    found = values(kind(3), [matrices])
    assert list(found.values()) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(list(values(kind(3), [Matrices()]).values())).all()  # a bootstrap sample without examples
