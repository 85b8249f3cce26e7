"""Group metrics against numbers worked out by hand, and the Wilson interval against SciPy."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binomtest

from model_patching.components.evaluator.group_metrics import group_metrics, wilson_interval


def test_two_classes_two_subgroups():
    found = group_metrics(
        correct=np.array([[90, 30], [8, 95]]),
        count=np.array([[100, 50], [10, 100]]),
        train_count=np.array([[9900, 100], [100, 9900]]),
    )
    np.testing.assert_allclose(found.accuracy, [[0.9, 0.6], [0.8, 0.95]])
    assert found.worst_group == (0, 1)
    assert found.worst_group_accuracy == 0.6
    np.testing.assert_allclose(found.subgroup_gap, [0.3, 0.15])
    assert found.largest_subgroup_gap == pytest.approx(0.3)
    # (9900 · 0.9 + 100 · 0.6 + 100 · 0.8 + 9900 · 0.95) / 20000
    assert found.average_accuracy == pytest.approx(18455 / 20000)


def test_without_train_count_the_average_is_the_plain_accuracy():
    found = group_metrics(correct=np.array([[9, 1], [0, 4]]), count=np.array([[10, 5], [1, 4]]))
    assert found.average_accuracy == pytest.approx(14 / 20)


def test_three_classes_three_subgroups_with_a_tie():
    found = group_metrics(correct=np.array([[10, 9, 8], [5, 5, 6], [7, 10, 5]]), count=np.full([3, 3], 10))
    assert found.worst_group == (1, 0)  # the first of three groups at 0.5
    np.testing.assert_allclose(found.subgroup_gap, [0.2, 0.1, 0.5])
    assert found.largest_subgroup_gap == pytest.approx(0.5)


def test_empty_groups_take_no_part():
    found = group_metrics(
        correct=np.array([[0, 9], [8, 0]]),
        count=np.array([[0, 10], [10, 0]]),
        train_count=np.array([[1000, 10], [30, 1000]]),
    )
    np.testing.assert_array_equal(np.isnan(found.accuracy), [[True, False], [False, True]])
    assert found.worst_group == (1, 0)
    assert found.worst_group_accuracy == 0.8
    assert np.isnan(found.subgroup_gap).all()  # no class has two groups to compare
    assert np.isnan(found.largest_subgroup_gap)
    assert found.average_accuracy == pytest.approx((10 * 0.9 + 30 * 0.8) / 40)


def test_a_class_without_a_gap_does_not_hide_the_others():
    found = group_metrics(correct=np.array([[0, 9], [8, 3]]), count=np.array([[0, 10], [10, 10]]))
    np.testing.assert_allclose(found.subgroup_gap, [np.nan, 0.5])
    assert found.largest_subgroup_gap == pytest.approx(0.5)


def test_no_examples_at_all():
    found = group_metrics(np.zeros([2, 2]), np.zeros([2, 2]), np.ones([2, 2]))
    assert found.worst_group is None
    assert np.isnan([found.worst_group_accuracy, found.largest_subgroup_gap, found.average_accuracy]).all()
    assert np.isnan(found.accuracy).all() and np.isnan(found.subgroup_gap).all()


def test_training_split_without_the_groups_of_this_one():
    found = group_metrics(np.array([[1, 0], [0, 0]]), np.array([[2, 0], [0, 0]]), np.array([[0, 5], [5, 5]]))
    assert np.isnan(found.average_accuracy)
    assert found.worst_group_accuracy == 0.5


@pytest.mark.parametrize(
    ("correct", "count", "train_count"),
    [
        (np.zeros([2, 2]), np.zeros([2, 3]), None),
        (np.zeros([4]), np.zeros([4]), None),
        (np.zeros([2, 2]), np.ones([2, 2]), np.ones([2])),
        (np.full([2, 2], 3), np.full([2, 2], 2), None),
        (np.full([2, 2], -1), np.full([2, 2], 2), None),
        (np.zeros([2, 2]), np.ones([2, 2]), np.full([2, 2], -1)),
    ],
)
def test_counts_that_cannot_be(correct, count, train_count):
    with pytest.raises(ValueError, match="group counts"):
        group_metrics(correct, count, train_count)


def test_wilson_interval_is_scipys():
    correct, count = np.array([[0, 5], [97, 4926], [10, 0]]), np.array([[7, 10], [100, 5000], [10, 0]])
    low, high = wilson_interval(correct, count)
    for index in np.ndindex(correct.shape):
        if count[index]:
            expected = binomtest(int(correct[index]), int(count[index])).proportion_ci(0.95, method="wilson")
            assert (low[index], high[index]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert np.isnan([low[2, 1], high[2, 1]]).all()


def test_needs_no_tensorflow():
    code = "import sys, model_patching.components.evaluator.group_metrics; print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "False"
