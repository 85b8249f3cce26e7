"""A run's outcome in words."""

import numpy as np

from model_patching.components.evaluator.eval_config import eval_config
from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.verdict import ROUNDING, verdict

HUNDREDS = np.array([[100, 100], [50, 100]])


def test_blessed(summarize):
    assert verdict(summarize()) == (
        "blessed: worst group 90.0 % (odd / clean), +86.0 points from the ERM model's 4.0 % (odd / clean), "
        "average 96.0 %"
    )


def test_refused_for_each_threshold(summarize):
    swapped = summarize()
    summary = summarize(
        candidate=GroupCounts(np.array([[99, 10], [2, 100]]), HUNDREDS),
        baseline=GroupCounts(np.array([[95, 92], [45, 97]]), HUNDREDS),
        evaluator=EvaluatorSettings(
            baseline="last_blessed",
            min_worst_group_accuracy=0.5,
            max_subgroup_gap=0.1,
            max_worst_group_drop=0.02,
        ),
        blessed=False,
    )
    assert swapped["worst_group_accuracy"] == summary["baseline"]["worst_group_accuracy"]
    assert verdict(summary) == (
        "not blessed: worst group 4.0 % (odd / clean), −86.0 points from the last blessed model's 90.0 % "
        "(odd / clean), average 98.6 %; at least 50.0 % was asked for; the largest subgroup gap is 96.0 %, at most "
        "10.0 % was asked for; at most 2.0 % below the last blessed model's was asked for"
    )


def test_reasons_are_only_those_missed(summarize):
    summary = summarize(
        evaluator=EvaluatorSettings(baseline="erm", min_worst_group_accuracy=0.95, max_subgroup_gap=0.5),
        blessed=False,
    )
    assert verdict(summary).endswith("average 96.0 %; at least 95.0 % was asked for")


def test_a_rounding_error_is_no_reason(summarize):
    """The worst group is 0.7 where 0.8 − 0.1 was asked for, and the gap 0.8 − 0.7; both miss by a last bit."""
    counts = GroupCounts(np.array([[80, 70], [40, 80]]), HUNDREDS)
    baseline = GroupCounts(np.array([[80, 80], [40, 80]]), HUNDREDS)
    assert 0.7 < 0.8 - 0.1 and 0.8 - 0.7 > 0.1
    summary = summarize(
        candidate=counts,
        baseline=baseline,
        evaluator=EvaluatorSettings(
            baseline="erm", min_worst_group_accuracy=0.95, max_subgroup_gap=0.1, max_worst_group_drop=0.1
        ),
        blessed=False,
    )
    assert verdict(summary).count(";") == 1


def test_the_tolerance_is_the_gates(dataset):
    settings = EvaluatorSettings(baseline="none", min_worst_group_accuracy=0.5)
    (worst_group,) = [
        metric
        for metric in eval_config(settings, dataset, "hash").metrics_specs[0].metrics
        if metric.class_name == "WorstGroupAccuracy"
    ]
    threshold = worst_group.per_slice_thresholds[0].threshold.value_threshold
    assert threshold.lower_bound.value == 0.5 - ROUNDING


def test_no_gate(summarize):
    assert verdict(summarize(blessed=None)).startswith("not gated: worst group 90.0 %")


def test_no_examples(summarize):
    nothing = GroupCounts(np.zeros([2, 2], int), np.zeros([2, 2], int))
    assert (
        verdict(summarize(candidate=nothing, blessed=False)) == "not blessed: the test split has no examples"
    )
