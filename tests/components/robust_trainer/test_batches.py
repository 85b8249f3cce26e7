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


def to_bytes(images):
    """Pixels 0 ... 255 of images in [-1, 1]: constant images to one number each."""
    flat = np.asarray(images).reshape(*images.shape[:-3], -1)
    assert (flat == flat[..., :1]).all()
    return np.rint((flat[..., 0] + 1) * 127.5).astype(int)


def test_group_balanced_draws_of_every_group_in_order(make_arrays, dataset):
    arrays = make_arrays(COUNTS, patched=True)
    image, label, patched = group_balanced(arrays, dataset, 50)(seed(1, 2))
    assert image.shape == (300, 2, 2, 1) and image.dtype == tf.float32
    assert label.dtype == tf.int32
    assert patched.shape == (300, 3, 2, 2, 1) and patched.dtype == tf.float32

    index = to_bytes(image)
    groups = index.reshape(6, 50)
    # 50 draws of at most 5 examples: one is missed with probability 5 * .8^50 < 1e-4; the seed is fixed.
    assert [sorted(set(group)) for group in groups.tolist()] == [
        [0, 1, 2, 3, 4],
        [5],
        [6, 7],
        [8, 9, 10],
        [11, 12, 13, 14],
        [15],
    ]
    assert label.numpy().tolist() == [0] * 150 + [1] * 150
    # Rendition k of example i is 100 + 50 k + i.
    assert to_bytes(patched).tolist() == [[100 + i, 150 + i, 200 + i] for i in index]


def test_proportional_draws_each_example_alike(make_arrays, dataset):
    arrays = make_arrays(COUNTS)
    image, label, patched = proportional(arrays, 16000)(seed(3, 4))
    index = to_bytes(image)
    assert patched is None
    # 1000 expected of each; the standard deviation is sqrt(16000 * 1/16 * 15/16) = 31.
    assert np.bincount(index, minlength=16) == pytest.approx(1000, abs=150)
    assert label.numpy().tolist() == arrays.label[index].tolist()


@pytest.mark.parametrize("kind", ["balanced", "proportional"])
def test_the_seed_alone_decides(make_arrays, dataset, kind):
    arrays = make_arrays(COUNTS)
    draw = group_balanced(arrays, dataset, 8) if kind == "balanced" else proportional(arrays, 48)
    first, again = to_bytes(draw(seed(1, 2))[0]), to_bytes(tf.function(draw)(seed(1, 2))[0])
    assert np.array_equal(first, again)
    for other in (seed(1, 3), seed(2, 2)):
        assert not np.array_equal(first, to_bytes(draw(other)[0]))


def test_pixels_are_scaled_to_the_networks_range(make_arrays, dataset):
    arrays = make_arrays(COUNTS)
    arrays.image[:] = 0
    arrays.image[:, 0, 0] = 255
    image, _, _ = proportional(arrays, 3)(seed(0, 0))
    assert image[0, :, :, 0].numpy().tolist() == [[1.0, -1.0], [-1.0, -1.0]]


def test_an_empty_group_is_named(make_arrays, dataset):
    arrays = make_arrays([[5, 1, 2], [3, 0, 1]])
    with pytest.raises(ValueError, match="^group 'c1 / s1' has no example in the training split$"):
        group_balanced(arrays, dataset, 8)
    with pytest.raises(ValueError, match="^group 'c1 / s1' has no example in the validation split$"):
        require_every_group(arrays, dataset, "validation")
    require_every_group(make_arrays(COUNTS), dataset, "validation")
