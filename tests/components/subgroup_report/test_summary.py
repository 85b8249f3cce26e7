"""`summary.json` against numbers worked out by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.summary import to_json

TRAIN_COUNT = [[9900, 100], [100, 9900]]
KEYS = [
    "pipeline", "run_id", "dataset", "method", "seed", "settings", "average_accuracy", "worst_group_accuracy",
    "worst_group", "subgroup_gap", "groups", "slices", "intervals", "blessed", "thresholds", "baseline",
    "missed_thresholds", "consistency", "mistakes", "translation", "data", "timings", "lineage", "versions",
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
        "min_slice_accuracy": {},
        "max_worst_group_drop": 0.0,
        "max_accuracy_drop": None,
        "max_gap_rise": None,
    }
    assert summary["missed_thresholds"] == []
    assert summary["timings"] == {"ExampleGen": 3.0, "RobustTrainer": 181.4, "Evaluator": None}
    assert [node["node"] for node in summary["lineage"]] == ["ExampleGen", "RobustTrainer", "Evaluator"]
    assert summary["translation"] is None
    # Keras is the one that the model was trained with.
    assert summary["versions"] == {"tfx": "1.21.0", "keras": "3.15.1", "tensorflow": "2.21.0"}


def test_baseline_is_the_same_block(summarize):
    summary = summarize()
    baseline = summary["baseline"]
    assert list(baseline) == ["kind", *KEYS[3:13]]
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


def test_no_nan_gets_through(summarize, nodes):
    with pytest.raises(ValueError):
        to_json(summarize(nodes=nodes._replace(timings={"Evaluator": float("nan")})))


def test_consistency(summarize, scores):
    rows = summarize()["consistency"]
    low, high = proportion_confint(20, 100, alpha=0.05, method="wilson")
    assert rows[1] == {
        "label": 0,
        "subgroup": 1,
        "name": "even / zigzag",
        "count": 100,
        "changed": 20,
        "share": 0.2,
        "ci_low": pytest.approx(low),
        "ci_high": pytest.approx(high),
    }
    assert [rows[2][key] for key in ("count", "share", "ci_low", "ci_high")] == [0, None, None, None]
    without = replace(scores, rendered=np.zeros([2, 2], int))
    assert summarize(scores=without)["consistency"] is None


def test_mistakes(summarize, scores):
    mistakes = summarize(scores=scores)["mistakes"]
    assert [(row["name"], row["example_id"]) for row in mistakes] == [
        ("even / zigzag", "digit-7"),
        ("even / zigzag", "digit-3"),
        ("odd / clean", "digit-4"),
    ]
    assert mistakes[0] | {"label": 0, "subgroup": 1} == mistakes[0]
    assert (mistakes[0]["predicted"], mistakes[0]["probability"]) == (1, 0.998)
    assert mistakes[0]["renditions"] == [
        {"subgroup": 0, "predicted": 0, "probability": 0.75},
        {"subgroup": 1, "predicted": 1, "probability": 0.96},
    ]
    assert mistakes[2]["renditions"] == []


def test_data(summarize, manifest):
    assert summarize()["data"] == {
        "counts": {"train": TRAIN_COUNT, "validation": TRAIN_COUNT, "test": [[100, 100], [50, 100]]},
        "manifest": None,
    }
    summary = summarize(manifest=manifest)
    assert summary["dataset"]["name"] == "digits of one parity"
    assert summary["data"]["manifest"] == {
        "sources": {"images": "ab" * 32, "digits.csv": "cd" * 32},
        "seed": 5,
        "skipped": 1,
        "warnings": ["train: group 'even / zigzag' has 100 records, published are 200"],
        "licence": None,
        "citation": "MNIST, by LeCun & others",
    }
    # The manifest of MNIST-Correlation.
    of_digits = {"inputs": {"dataset": "mnist_correlation", "sources": {"t10k": "ef"}, "seed": 1}}
    summary = summarize(manifest=of_digits)
    assert summary["dataset"]["name"] == "mnist_correlation"
    assert summary["data"]["manifest"]["sources"] == {"t10k": "ef"}
