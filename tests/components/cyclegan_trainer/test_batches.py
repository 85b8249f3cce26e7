import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.batches import BalancedImages, require_groups

COUNTS = [[5, 40], [3, 1], [2, 9]]  # subgroup 1: examples 5-44 of class 0, 48 of class 1, 51-59 of class 2


def draw(images, count, *seed):
    """Which examples are drawn, by their pixels."""
    batch = images.draw(count, tf.constant(seed))
    assert batch.dtype == tf.float32 and batch.shape == (count, 2, 2, 1)
    return np.rint((batch.numpy()[:, 0, 0, 0] + 1) * 127.5).astype(int)


def classes_of(index):
    return np.searchsorted([45, 51], index, side="right")


@pytest.fixture
def images(make_arrays, make_dataset):
    return BalancedImages(make_arrays(COUNTS), make_dataset(3, 2, (2, 2, 1)), 1, range(3))


def test_draws_evenly_over_classes_though_one_is_rare(images):
    index = draw(images, 900, 1, 2)
    # Class 1 has one image of 50 and yet every third place. 300 draws of 40: one is missed with probability .02 at
    # most; the seed is fixed.
    classes = classes_of(index)
    assert np.array_equal(classes, (classes[0] + np.arange(900)) % 3)
    assert sorted(set(index[classes == 0])) == list(range(5, 45))
    assert set(index[classes == 1]) == {48}
    assert sorted(set(index[classes == 2])) == list(range(51, 60))
    # 300 / 9 = 33 of each; the standard deviation is 5.4.
    assert np.bincount(index[classes == 2])[51:] == pytest.approx(300 / 9, abs=22)


def test_takes_the_other_subgroup(make_arrays, make_dataset):
    images = BalancedImages(make_arrays(COUNTS), make_dataset(3, 2, (2, 2, 1)), 0, range(3))
    index = draw(images, 90, 1, 2)
    assert sorted(set(index)) == [0, 1, 2, 3, 4, 45, 46, 47, 49, 50]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_class_is_favoured_by_a_batch_that_they_do_not_divide(images, count):
    counts = np.zeros(3)
    for step in range(300):
        of_batch = np.bincount(classes_of(draw(images, count, 1, step)), minlength=3)
        assert of_batch.max() - of_batch.min() <= 1
        counts += of_batch
    # 300 draws of who comes first: 100 each, with a standard deviation of 8.2.
    assert counts == pytest.approx(np.full(3, 100 * count), abs=33)


def test_the_seed_alone_decides(images):
    first = draw(images, 30, 1, 2)
    assert np.array_equal(first, draw(images, 30, 1, 2))
    assert not np.array_equal(first, draw(images, 30, 1, 3))
    assert not np.array_equal(first, draw(images, 30, 2, 2))


def test_draws_from_the_classes_asked_for(make_arrays, make_dataset):
    images = BalancedImages(make_arrays(COUNTS), make_dataset(3, 2, (2, 2, 1)), 1, [2, 1])
    index = draw(images, 200, 1, 2)
    assert sorted(set(index)) == [48, *range(51, 60)]
    assert np.sum(index == 48) == 100


def test_an_empty_group_is_named(make_arrays, make_dataset):
    arrays, dataset = make_arrays([[5, 4], [3, 0]]), make_dataset(2, 2, (2, 2, 1))
    message = "^group 'c1 / s1' has no example in the training split: its translators can't be trained and diagnosed$"
    with pytest.raises(ValueError, match=message):
        require_groups(arrays, dataset, range(2), "training")
    require_groups(arrays, dataset, [0], "training")
