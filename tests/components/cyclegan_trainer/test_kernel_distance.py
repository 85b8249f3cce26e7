import itertools

import numpy as np
import pytest

from model_patching.components.cyclegan_trainer.kernel_distance import kernel_distance


def by_definition(features, others):
    """The estimate of the paper, pair by pair."""

    def kernel(x, y):
        return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(rows):
        return np.mean([kernel(x, y) for x, y in itertools.permutations(rows, 2)])

    between = np.mean([kernel(x, y) for x in features for y in others])
    return within(features) + within(others) - 2 * between


def test_two_points_by_hand():
    # d = 1; k(1, 1) = 8, k(0, ·) = 1: 8 + 1 - 2.
    assert kernel_distance(np.array([[1.0], [1.0]]), np.array([[0.0], [0.0]])) == 7.0


def test_the_definition_in_float32():
    random = np.random.default_rng(1)
    features, others = random.normal(size=(5, 3)).astype(np.float32), random.normal(1, 2, (4, 3))
    assert kernel_distance(features, others) == pytest.approx(by_definition(features, others), rel=1e-12)


def test_about_zero_for_samples_of_the_same_and_not_for_others():
    random = np.random.default_rng(1)
    distances = [kernel_distance(*random.normal(size=(2, 30, 4))) for _ in range(200)]
    # Unbiased: a biased estimate would be above 0 by a few times its own deviation here.
    assert abs(np.mean(distances)) < 3 * np.std(distances) / np.sqrt(200)
    assert kernel_distance(random.normal(size=(30, 4)), random.normal(1, 1, (30, 4))) > 5 * np.std(distances)


def test_one_row_has_no_pair():
    assert kernel_distance(np.ones((1, 2)), np.ones((5, 2))) is None
    assert kernel_distance(np.ones((5, 2)), np.ones((0, 2))) is None
