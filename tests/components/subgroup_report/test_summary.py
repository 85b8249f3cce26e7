"""`summary.json` against numbers worked out by hand."""

import json

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.summary import to_json

KEYS = [
    "pipeline", "run_id", "dataset", "method", "seed", "settings", "average_accuracy", "worst_group_accuracy",
    "worst_group", "subgroup_gap", "groups", "slices", "blessed", "thresholds", "baseline", "translation", "timings",
    "versions",
]  # fmt: skip


def test_keys_and_their_order(summarize):
    summary = json.loads(to_json(summarize()))
    assert list(summary) == KEYS
    assert list(summary["groups"][0]) == [
        "label",
        "subgroup",
        "name",
        "count",
        "accuracy",
        "ci_low",
        "ci_high",
    ]


def test_figures(summarize):
    summary = summarize()
    assert summary["worst_group_accuracy"] == 0.9
    assert summary["worst_group"] == "odd / clean"
    assert summary["subgroup_gap"]["per_class"] == pytest.approx({"even": 0.03, "odd": 0.07})
    assert summary["subgroup_gap"]["largest"] == pytest.approx(0.07)
    # (9900 · 0.95 + 100 · 0.92 + 100 · 0.9 + 9900 · 0.97) / 20000
    assert summary["average_accuracy"] == pytest.approx(19190 / 20000)
    assert [group["name"] for group in summary["groups"]] == [
        "even / clean",
        "even / zigzag",
        "odd / clean",
        "odd / zigzag",
    ]
    low, high = proportion_confint(45, 50, alpha=0.05, method="wilson")
    assert summary["groups"][2] == {
        "label": 1,
        "subgroup": 0,
        "name": "odd / clean",
        "count": 50,
        "accuracy": 0.9,
        "ci_low": pytest.approx(low),
        "ci_high": pytest.approx(high),
    }


def test_the_rest(summarize, dataset):
    summary = summarize()
    assert (summary["pipeline"], summary["run_id"], summary["method"], summary["seed"]) == (
        "model_patching",
        "run-7",
        "camel",
        3,
    )
    assert summary["dataset"] == {
        "name": "mnist_correlation",
        "classes": ["even", "odd"],
        "subgroups": ["clean", "zigzag"],
        "image_shape": [28, 28, 1],
    }
    assert summary["blessed"] is True
    assert summary["thresholds"] == {
        "min_worst_group_accuracy": 0.85,
        "max_subgroup_gap": None,
        "max_worst_group_drop": 0.0,
    }
    assert summary["timings"] == {"CycleGANTrainer": 181.4, "Evaluator": None}
    assert summary["translation"] is None
    # Keras is the one that the model was trained with.
    assert summary["versions"] == {"tfx": "1.21.0", "keras": "3.15.1", "tensorflow": "2.21.0"}


def test_baseline_is_the_same_block(summarize):
    summary = summarize()
    baseline = summary["baseline"]
    assert list(baseline) == ["kind", *KEYS[3:12]]
    assert (baseline["kind"], baseline["method"]) == ("erm", "erm")
    assert (baseline["worst_group"], baseline["worst_group_accuracy"]) == ("odd / clean", 0.04)
    # (9900 · 0.99 + 100 · 0.1 + 100 · 0.04 + 9900 · 1) / 20000
    assert baseline["average_accuracy"] == pytest.approx(19715 / 20000)


def test_without_a_baseline(summarize):
    summary = summarize(baseline=None, baseline_training=None, evaluator=EvaluatorSettings(baseline="none"))
    assert summary["baseline"] is None
    assert summary["thresholds"]["max_worst_group_drop"] is None


def test_a_baseline_of_an_earlier_run_has_no_method(summarize):
    summary = summarize(baseline_training=None, evaluator=EvaluatorSettings(baseline="last_blessed"))
    assert (summary["baseline"]["kind"], summary["baseline"]["method"]) == ("last_blessed", None)


def test_a_group_without_examples_is_null_not_nan(summarize):
    counts = GroupCounts(np.array([[95, 0], [45, 97]]), np.array([[100, 0], [50, 100]]))
    text = to_json(summarize(candidate=counts))
    assert "NaN" not in text
    summary = json.loads(text)
    assert summary["groups"][1]["count"] == 0
    assert summary["groups"][1]["accuracy"] is summary["groups"][1]["ci_low"] is None
    assert summary["subgroup_gap"]["per_class"]["even"] is None


def test_no_nan_gets_through(summarize):
    with pytest.raises(ValueError):
        to_json(summarize(timings={"Evaluator": float("nan")}))
