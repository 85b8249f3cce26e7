import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.robust_trainer.batches import group_balanced, proportional, require_every_group

COUNTS = [[5, 1, 2], [3, 4, 1]]  # examples 0-4, 5, 6-7, 8-10, 11-14, 15


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(2, 3, (2, 2, 1))


def seed(*values):
    return tf.constant(values, tf.int32)


def test_group_balanced_draws_of_every_group_in_order(make_arrays, dataset):
    rows = group_balanced(make_arrays(COUNTS), dataset, 50)(seed(1, 2))
    assert rows.shape == (6, 50) and rows.dtype == tf.int32
    # 50 draws of at most 5 examples: one is missed with probability 5 * .8^50 < 1e-4; the seed is fixed.
    assert [sorted(set(group)) for group in rows.numpy().tolist()] == [
        [0, 1, 2, 3, 4],
        [5],
        [6, 7],
        [8, 9, 10],
        [11, 12, 13, 14],
        [15],
    ]


def test_proportional_draws_each_example_alike(make_arrays):
    rows = proportional(make_arrays(COUNTS), 16000)(seed(3, 4))
    assert rows.shape == (1, 16000) and rows.dtype == tf.int32
    # 1000 expected of each; the standard deviation is sqrt(16000 * 1/16 * 15/16) = 31.
    assert np.bincount(rows[0], minlength=16) == pytest.approx(1000, abs=150)


@pytest.mark.parametrize("kind", ["balanced", "proportional"])
def test_the_seed_alone_decides(make_arrays, dataset, kind):
    arrays = make_arrays(COUNTS)
    draw = group_balanced(arrays, dataset, 8) if kind == "balanced" else proportional(arrays, 48)
    first = draw(seed(1, 2)).numpy()
    assert np.array_equal(first, tf.function(draw)(seed(1, 2)))
    for other in (seed(1, 3), seed(2, 2)):
        assert not np.array_equal(first, draw(other))


def test_an_empty_group_is_named(make_arrays, dataset):
    arrays = make_arrays([[5, 1, 2], [3, 0, 1]])
    with pytest.raises(ValueError, match="^group 'c1 / s1' has no example in the training split$"):
        group_balanced(arrays, dataset, 8)
    with pytest.raises(ValueError, match="^group 'c1 / s1' has no example in the validation split$"):
        require_every_group(arrays, dataset, "validation")
    require_every_group(make_arrays(COUNTS), dataset, "validation")
