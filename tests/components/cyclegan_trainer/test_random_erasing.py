import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.random_erasing import random_erasing

SEED = tf.constant([1, 2])


def erased(rectangles, shape=(30, 40, 1), count=400, seed=SEED):
    """Erases parts of images that are 2 everywhere, which no noise is: the result, and bool [n, H, W] where."""
    result = random_erasing(tf.fill([count, *shape], 2.0), rectangles, seed).numpy()
    assert result.shape == (count, *shape) and result.dtype == np.float32
    return result, (result != 2).any(axis=-1)


def test_one_rectangle_of_noise_in_each_image():
    result, where = erased(1)
    assert (where.any((1, 2))).mean() > 0.99  # a thin one at the border may lie between two pixels' middles
    for mask in where:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        # Every row with the same columns, without a gap: a rectangle.
        assert mask.sum() == len(rows) * len(columns)
        assert len(rows) == 0 or (np.ptp(rows) + 1, np.ptp(columns) + 1) == (len(rows), len(columns))
        # 10 % of 30×40 at most, and what the raster adds at the edges.
        assert len(rows) * len(columns) <= 0.1 * 30 * 40 + len(rows) + len(columns) + 1
    noise = result[where]
    # Uniform from -1 to 1: mean 0, standard deviation 1/sqrt(3); there are some 20 000 values.
    assert noise.min() >= -1 and noise.max() < 1 and abs(noise.mean()) < 0.03
    assert noise.std() == pytest.approx(3**-0.5, abs=0.01)


def test_areas_and_shapes():
    _, where = erased(1, (200, 200, 1), 300)
    height, width = where.any(2).sum(1), where.any(1).sum(1)
    middle = ~(where[:, [0, -1]].any((1, 2)) | where[:, :, [0, -1]].any((1, 2)))  # not cut off by the border
    area, aspect = (height * width / 200**2)[middle], np.log(height / width)[middle]
    assert area.min() >= 0.018 and area.max() <= 0.103 and area.min() < 0.03 and area.max() > 0.09
    assert abs(aspect).max() <= np.log(10) + 0.1
    assert aspect.min() < -1 and aspect.max() > 1


def test_reaches_every_pixel_and_all_channels():
    result, where = erased(1, (12, 20, 3), 800)
    assert (where.mean(0) > 0.01).all()
    assert (result[where] != 2).all()
    assert len(np.unique(result[where][0])) == 3


def test_more_rectangles_erase_more():
    shares = [erased(rectangles)[1].mean() for rectangles in (0, 1, 3)]
    assert shares[0] == 0
    # A whole rectangle covers 6 % on average; those at the border less.
    assert 0.03 < shares[1] < 0.06
    assert 2 * shares[1] < shares[2] < 3 * shares[1]


def test_what_is_not_erased_stays():
    images = np.random.default_rng(0).uniform(-1, 1, (50, 9, 8, 1)).astype(np.float32)
    _, where = erased(2, (9, 8, 1), 50)
    result = random_erasing(tf.constant(images), 2, SEED).numpy()
    assert np.array_equal(result[~where], images[~where])
    assert (result[where] != images[where]).mean() > 0.99


def test_the_seed_alone_decides():
    first, _ = erased(2)
    assert np.array_equal(first, erased(2)[0])
    assert not np.array_equal(first, erased(2, seed=tf.constant([1, 3]))[0])
    masks = {mask.tobytes() for mask in erased(2)[1]}
    assert len(masks) > 390  # each image its own
