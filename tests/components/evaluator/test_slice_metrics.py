"""Slices of random predictions against scikit-learn's metrics of each, worst group and gap against MetricFrame's."""

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from sklearn import metrics

from model_patching.components.evaluator.calibration import calibration_error
from model_patching.components.evaluator.group_metrics import group_metrics
from model_patching.components.evaluator.predictions import Predictions
from model_patching.components.evaluator.slice_metrics import group_counts, slice_metrics
from model_patching.data.dataset import Groups


def random_predictions(num_classes, num_subgroups, size=5000, seed=0):
    generator = np.random.default_rng(seed)
    label = generator.integers(0, num_classes, size)
    scores = generator.normal(size=[size, num_classes])
    scores[np.arange(size), label] += 1
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return Predictions(
        groups=Groups(
            classes=tuple(f"c{y}" for y in range(num_classes)),
            subgroups=tuple(f"s{z}" for z in range(num_subgroups)),
        ),
        label=label.astype(np.int32),
        subgroup=generator.integers(0, num_subgroups, size).astype(np.int32),
        prediction=probabilities.argmax(axis=1).astype(np.int32),
        probabilities=probabilities,
    )


def chosen_by(predictions, found):
    chosen = np.ones(len(predictions.label), bool)
    for values, value in ((predictions.label, found.label), (predictions.subgroup, found.subgroup)):
        if value is not None:
            chosen &= values == value
    return chosen


def expected_calibration_error(confidence, correct):
    """By the definition, one bin after the other."""
    total = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = (confidence >= low) & ((confidence < high) | (number == 14))
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize(("num_classes", "num_subgroups"), [(2, 2), (4, 3)])
def test_slices_are_scikit_learns(num_classes, num_subgroups):
    predictions = random_predictions(num_classes, num_subgroups)
    slices = slice_metrics(predictions)
    assert [(found.label, found.subgroup) for found in slices] == [
        (None, None),
        *((y, None) for y in range(num_classes)),
        *((None, z) for z in range(num_subgroups)),
        *((y, z) for y in range(num_classes) for z in range(num_subgroups)),
    ]
    classes = np.arange(num_classes)
    for found in slices:
        chosen = chosen_by(predictions, found)
        label, prediction = predictions.label[chosen], predictions.prediction[chosen]
        probabilities = predictions.probabilities[chosen]
        assert found.count == chosen.sum()
        assert found.correct / found.count == pytest.approx(
            metrics.accuracy_score(label, prediction), abs=1e-9
        )
        assert found.probability.cross_entropy == pytest.approx(
            metrics.log_loss(label, probabilities, labels=classes), abs=1e-9
        )
        assert found.probability.calibration_error == pytest.approx(
            expected_calibration_error(probabilities.max(axis=1), prediction == label), abs=1e-9
        )
        if found.label is not None:
            everything = (found.precision, found.recall, found.confusion_matrix, found.probability.auc)
            assert everything == (None, None, None, None)
            continue
        options = {"labels": classes, "average": None}
        np.testing.assert_allclose(
            found.precision, metrics.precision_score(label, prediction, **options), atol=1e-9
        )
        np.testing.assert_allclose(
            found.recall, metrics.recall_score(label, prediction, **options), atol=1e-9
        )
        np.testing.assert_array_equal(
            found.confusion_matrix, metrics.confusion_matrix(label, prediction, labels=classes)
        )
        np.testing.assert_allclose(
            found.probability.auc,
            [metrics.roc_auc_score(label == y, probabilities[:, y]) for y in classes],
            atol=1e-9,
        )


def test_worst_group_and_gap_are_metric_frames():
    predictions = random_predictions(3, 3, size=3000, seed=1)
    counts = group_counts(slice_metrics(predictions), 3, 3)
    found = group_metrics(counts.correct, counts.count)
    frame = MetricFrame(
        metrics=metrics.accuracy_score,
        y_true=predictions.label,
        y_pred=predictions.prediction,
        sensitive_features=predictions.subgroup,
        control_features=predictions.label,
    )
    assert found.worst_group_accuracy == pytest.approx(frame.group_min().min(), abs=1e-9)
    np.testing.assert_allclose(found.subgroup_gap, frame.difference(), atol=1e-9)
    assert found.average_accuracy == pytest.approx(
        metrics.accuracy_score(predictions.label, predictions.prediction), abs=1e-9
    )


def test_what_a_slice_cannot_say():
    predictions = Predictions(
        groups=Groups(classes=("a", "b", "c"), subgroups=("x", "y")),
        label=np.array([0, 0, 1, 1], np.int32),
        subgroup=np.array([0, 0, 0, 1], np.int32),
        prediction=np.array([0, 1, 1, 1], np.int32),
        probabilities=np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.0, 1.0, 0.0], [0.2, 0.7, 0.1]]),
    )
    slices = slice_metrics(predictions)
    # No group (0, 1), and nothing of class 2.
    assert [(found.label, found.subgroup, found.correct, found.count) for found in slices] == [
        (None, None, 3, 4),
        (0, None, 1, 2),
        (1, None, 2, 2),
        (None, 0, 2, 3),
        (None, 1, 1, 1),
        (0, 0, 1, 2),
        (1, 0, 1, 1),
        (1, 1, 1, 1),
    ]
    all_examples, only_b = slices[0], slices[4]
    np.testing.assert_allclose(all_examples.precision, [1, 2 / 3, np.nan])
    np.testing.assert_allclose(all_examples.recall, [0.5, 1, np.nan])
    np.testing.assert_allclose(all_examples.probability.auc, [1, 1, np.nan])
    assert np.isnan(only_b.probability.auc).all()
    np.testing.assert_array_equal(only_b.confusion_matrix, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    counts = group_counts(slices, 3, 2)
    np.testing.assert_array_equal(counts.count, [[2, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(counts.correct, [[1, 0], [1, 1], [0, 0]])


def test_without_probabilities():
    full = random_predictions(2, 2, size=100)
    slices = slice_metrics(Predictions(full.groups, full.label, full.subgroup, full.prediction, None))
    assert {found.probability for found in slices} == {None}
    assert [found.correct for found in slices] == [found.correct for found in slice_metrics(full)]


def test_calibration_error_by_hand():
    # Bin 10 is [0.667, 0.733): 0.7 twice, one right. Bin 14 is [0.933, 1]: 0.95 and 1, both right.
    found = calibration_error(np.array([0.7, 0.7, 0.95, 1.0]), np.array([True, False, True, True]))
    assert found == pytest.approx(0.5 * abs(0.7 - 0.5) + 0.5 * abs(0.975 - 1), abs=1e-12)
