import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from model_patching.components.robust_trainer.dfr import fit_last_layer


def features_of(counts, seed=0):
    """Feature 0 is the subgroup, loud; feature 1 the class, quiet; 2 and 3 are noise."""
    random = np.random.default_rng(seed)
    label = np.repeat([0, 0, 1, 1], counts)
    subgroup = np.repeat([0, 1, 0, 1], counts)
    noise = random.normal(0, 1, (len(label), 4))
    features = noise + np.stack([20.0 * subgroup, 4.0 * label, 0 * label, 0 * label], axis=1)
    return features.astype(np.float32), label, 2 * label + subgroup


def test_finds_the_class_where_the_subgroup_nearly_gives_it_away():
    features, label, group = features_of([400, 20, 20, 400])
    layer, found = fit_last_layer(features, label, group, 5, (1.0, 0.1), seed=1)
    assert layer.kernel.shape == (4, 2) and layer.bias.shape == (2,)
    held_out, expected, of_group = features_of([500] * 4, seed=1)
    correct = layer.predict(held_out) == expected
    assert min(correct[of_group == one].mean() for one in range(4)) > 0.94
    assert [entry["strength"] for entry in found] == [1.0, 0.1]


def test_is_the_regression_itself_where_all_groups_are_equal():
    features, label, group = features_of([50] * 4)
    layer, _ = fit_last_layer(features, label, group, 1, (0.5,), seed=1)
    scaler = StandardScaler().fit(features)
    regression = LogisticRegression(penalty="l1", C=0.5, solver="liblinear", tol=1e-6, intercept_scaling=100)
    regression.fit(scaler.transform(features), label)
    logits = features @ layer.kernel + layer.bias
    expected = regression.decision_function(scaler.transform(features))
    assert logits[:, 0] == pytest.approx(0, abs=1e-9)
    assert logits[:, 1] == pytest.approx(expected, abs=0.1)


def test_chooses_the_strength_with_the_better_worst_group():
    features, label, group = features_of([60] * 4)
    # So strong a penalty leaves no weight: one answer for all, and a group that is wrong throughout.
    for strengths in ((1e-9, 1.0), (1.0, 1e-9)):
        layer, found = fit_last_layer(features, label, group, 2, strengths, seed=1)
        reached = {entry["strength"]: entry["worst_group_accuracy"] for entry in found}
        assert reached[1e-9] == 0 and reached[1.0] > 0.9
        assert np.abs(layer.kernel).max() > 0.1


def test_more_classes_than_two():
    random = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 40)
    features = np.eye(3)[label] * 6 + random.normal(0, 1, (120, 3))
    layer, _ = fit_last_layer(features, label, label, 2, (1.0,), seed=1)
    assert layer.kernel.shape == (3, 3)
    assert np.mean(layer.predict(features) == label) > 0.95


def test_the_seed_alone_decides():
    features, label, group = features_of([40, 9, 9, 40])
    first, again, other = (fit_last_layer(features, label, group, 2, (1.0,), seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first.kernel, again.kernel) and not np.array_equal(first.kernel, other.kernel)


def test_one_example_of_a_group_is_too_few():
    features, label, group = features_of([5, 1, 5, 5])
    with pytest.raises(ValueError, match="^dfr needs at least two validation examples of each group$"):
        fit_last_layer(features, label, group, 2, (1.0,), 1)
