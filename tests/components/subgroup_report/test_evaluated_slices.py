"""Slices as `summary.json` has them, from what TFMA wrote of random predictions, against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_score, recall_score, roc_auc_score

from model_patching.components.evaluator.calibration import calibration_error
from model_patching.components.subgroup_report.evaluated_slices import read_slices
from model_patching.components.subgroup_report.tfma_values import interval_of, value_of
from model_patching.data.dataset import Dataset

CLASSES, SUBGROUPS = ("even", "odd", "neither"), ("clean", "zigzag")


@pytest.fixture(scope="module")
def predictions():
    """What the fixture `evaluated_run` has evaluated: labels, subgroups, {model: probabilities float64 [n, 3]}."""
    random = np.random.default_rng(5)
    label, subgroup = random.integers(0, 3, 300), random.integers(0, 2, 300)
    drawn = {name: random.dirichlet(np.ones(3), 300) for name in ("candidate", "baseline")}
    # A record holds float32.
    return label, subgroup, {name: values.astype(np.float32) for name, values in drawn.items()}


def test_every_slice_is_scikit_learns(evaluated_run, predictions):
    root, _ = evaluated_run
    dataset = Dataset(classes=CLASSES, subgroups=SUBGROUPS, image_shape=(4, 4, 1))
    models = read_slices(str(root / "birds" / "Evaluator/evaluation" / "1"), dataset)
    label, subgroup, probabilities = predictions
    for (slices, intervals), of_model in zip(models, probabilities.values(), strict=True):
        assert intervals is None
        assert [found["name"] for found in slices[:6]] == ["all", *CLASSES, *SUBGROUPS]
        assert [found["name"] for found in slices[6:]] == list(dataset.group_names)
        for found in slices:
            here = np.ones(300, bool)
            here &= True if found["label"] is None else label == found["label"]
            here &= True if found["subgroup"] is None else subgroup == found["subgroup"]
            labels, values = label[here], of_model[here]
            guesses = values.argmax(axis=1)
            correct = int((guesses == labels).sum())
            wilson = binomtest(correct, len(labels)).proportion_ci(0.95, method="wilson")
            confidence = values.max(axis=1).astype(np.float64)

            assert (found["count"], found["features"], found["intervals"]) == (len(labels), {}, None)
            assert found["accuracy"] == pytest.approx(correct / len(labels), abs=1e-9)
            assert (found["ci_low"], found["ci_high"]) == pytest.approx((wilson.low, wilson.high), abs=1e-9)
            # Keras computes it in float32.
            normalized = values.astype(np.float64) / values.astype(np.float64).sum(axis=1, keepdims=True)
            assert found["cross_entropy"] == pytest.approx(
                log_loss(labels, normalized, labels=[0, 1, 2]), abs=1e-5
            )
            assert found["calibration_error"] == pytest.approx(
                calibration_error(confidence, guesses == labels), abs=1e-9
            )
            if found["label"] is not None:
                assert (
                    found["auc"] is found["precision"] is found["recall"] is found["confusion_matrix"] is None
                )
                continue
            options = {"labels": [0, 1, 2], "average": None, "zero_division": np.nan}
            assert found["precision"] == pytest.approx(precision_score(labels, guesses, **options), abs=1e-9)
            assert found["recall"] == pytest.approx(recall_score(labels, guesses, **options), abs=1e-9)
            assert found["confusion_matrix"] == confusion_matrix(labels, guesses, labels=[0, 1, 2]).tolist()
            # TFMA puts the probabilities in 10,000 bins, and those of a bin are all alike.
            areas = [roc_auc_score(labels == y, values[:, y]) for y in range(3)]
            assert found["auc"] == pytest.approx(areas, abs=1e-3)


def test_values_with_and_without_an_interval():
    plain, bounded = (
        {"doubleValue": 0.5},
        {"boundedValue": {"lowerBound": 0.25, "upperBound": 1.5, "value": 1.0}},
    )
    nowhere = {"boundedValue": {"lowerBound": "NaN", "upperBound": "NaN", "value": "NaN"}}
    assert (value_of(plain), value_of(bounded)) == (0.5, 1.0)
    assert np.isnan(value_of(nowhere)) and np.isnan(value_of({"doubleValue": "NaN"}))
    assert (interval_of(plain), interval_of(bounded), interval_of(nowhere)) == (None, [0.25, 1.5], None)
