import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from model_patching.components.cyclegan_trainer.image_augmentation import augment
from model_patching.components.cyclegan_trainer.settings import ImageAugmentation

SEED = tf.constant([5, 6])
ALL = ImageAugmentation(rotation=20, pad_and_crop=2, flip_left_right=0.5, crop=0.2)


def noise(count, shape=(6, 5, 2)):
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype(np.float32)


def places(count, height, width):
    """Images whose two channels say where a pixel is, x and y in pixels: bilinear interpolation is exact on them."""
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return np.repeat(np.stack([x, y], -1)[None].astype(np.float32), count, axis=0)


def test_nothing_by_default():
    images = tf.constant(noise(3))
    assert augment(images, ImageAugmentation(), SEED) is images


def test_mirror():
    images = noise(400)
    assert np.array_equal(augment(images, ImageAugmentation(flip_left_right=1.0), SEED), images[:, :, ::-1])
    found = augment(images, ImageAugmentation(flip_left_right=0.3), SEED).numpy()
    mirrored = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(found, images, strict=True)])
    assert np.array_equal(found[~mirrored], images[~mirrored])
    assert mirrored.mean() == pytest.approx(0.3, abs=0.09)  # four standard deviations


def test_with_a_probability_the_others_stay_exactly_as_they_are():
    images = noise(400)
    found = augment(images, ALL.model_copy(update={"probability": 0.7}), SEED).numpy()
    same = np.array([np.array_equal(a, b) for a, b in zip(found, images, strict=True)])
    assert same.mean() == pytest.approx(0.3, abs=0.09)  # four standard deviations
    # A change is the same with any probability.
    assert np.array_equal(found[~same], augment(images, ALL, SEED).numpy()[~same])


def test_pad_and_crop():
    images = noise(300)
    found = augment(images, ImageAugmentation(pad_and_crop=2), SEED).numpy()
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], constant_values=-1.0)
    seen = set()
    for image, around in zip(found, padded, strict=True):
        crops = {(y, x): around[y : y + 6, x : x + 5] for y in range(5) for x in range(5)}
        matching = [place for place, crop in crops.items() if np.array_equal(crop, image)]
        assert len(matching) == 1
        seen.add(matching[0])
    assert len(seen) == 25


def test_the_gradient_of_a_move_is_moved_back():
    images, weights = noise(20), noise(20)[::-1].copy()
    change = ImageAugmentation(pad_and_crop=2)
    with tf.GradientTape() as tape:
        variable = tf.Variable(images)
        total = tf.reduce_sum(weights * augment(variable, change, SEED))
    # Each pixel of a moved image is that of one place, or of none: which, the places tell.
    came_from = augment(tf.constant(places(20, 6, 5) + 1), change, SEED).numpy()
    expected = np.zeros_like(images)
    for image, y, x in np.ndindex(20, 6, 5):
        from_x, from_y = came_from[image, y, x]
        if from_x >= 0:
            expected[image, int(from_y) - 1, int(from_x) - 1] = weights[image, y, x]
    assert tape.gradient(total, variable).numpy() == pytest.approx(expected, abs=1e-6)


def test_rotation():
    # Smooth, so that the error of a wrong angle grows with the angle.
    y, x = np.mgrid[:13, :12] / 12
    image = (np.cos(4 * x + 1) * np.sin(5 * y)).astype(np.float32)[..., None]
    found = augment(np.repeat(image[None], 12, axis=0), ImageAugmentation(rotation=30), SEED).numpy()
    middle = np.array([(13 - 1) / 2, (12 - 1) / 2])

    def turned(degrees):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        matrix = np.array([[cos, -sin], [sin, cos]])
        return ndimage.affine_transform(
            image[..., 0], matrix, middle - matrix @ middle, order=1, mode="grid-constant", cval=-1.0
        )

    def error(degrees, target):
        return abs(turned(degrees) - target).max()

    angles = []
    for target in found[..., 0]:
        best = min(np.arange(-40, 40, 1.0), key=lambda degrees: error(degrees, target))
        for step in (0.1, 0.01, 0.001):
            best = min(best + step * np.arange(-12, 13), key=lambda degrees: error(degrees, target))
        assert error(best, target) < 2e-3
        angles.append(best)
    assert min(angles) < -15 and max(angles) > 15
    assert max(map(abs, angles)) <= 30.001
    assert len({round(angle, 2) for angle in angles}) == 12


def test_crop():
    height, width = 11, 21
    found = augment(places(300, height, width), ImageAugmentation(crop=0.2), SEED).numpy()
    limits = []
    for channel, size in ((0, width), (1, height)):
        lines = found[:, 0, :, 0] if channel == 0 else found[:, :, 0, 1]
        # Nothing comes in from outside, and what is cut off is at most a fifth of the side.
        start, end = lines[:, 0], size - 1 - lines[:, -1]
        for cut in (start, end):
            assert -1e-4 < cut.min() < 0.1 and 0.19 * (size - 1) < cut.max() <= 0.2 * (size - 1) + 1e-4
        assert lines == pytest.approx(np.linspace(lines[:, 0], lines[:, -1], size, axis=1), abs=1e-4)
        limits += [start, end]
    # The other axis doesn't matter, and each side is drawn for itself.
    assert np.ptp(found[..., 0], axis=1).max() < 1e-4 and np.ptp(found[..., 1], axis=2).max() < 1e-4
    assert abs(np.corrcoef(limits) - np.eye(4)).max() < 0.25


def test_all_together_are_one_affine_change():
    height, width = 16, 12
    # A third channel of ones, where less tells that something came in from outside.
    images = np.concatenate([places(60, height, width), np.ones((60, height, width, 1), np.float32)], axis=-1)
    mirrored = []
    for image in augment(images, ALL, SEED).numpy():
        inside = image[..., 2] > 0.9999
        before, after = image[inside][:, :2], images[0][inside]
        matrix, *_ = np.linalg.lstsq(after, before, rcond=None)
        assert after @ matrix == pytest.approx(before, abs=1e-3)
        # The columns: the turn by one angle of (± what is left of x, 0) and of (0, what is left of y).
        linear = matrix[:2].T
        mirrored.append(np.linalg.det(linear) < 0)
        assert abs(linear[:, 0] @ linear[:, 1]) < 1e-3
        left = np.linalg.norm(linear, axis=0)
        assert left.min() > 0.6 - 1e-3 and left.max() < 1 + 1e-3
        assert abs(np.degrees(np.arctan2(linear[0, 1], linear[1, 1]))) < 20.1
    assert 0.2 < np.mean(mirrored) < 0.8


def test_order_of_the_changes():
    # A mirror after the move turns its direction: a pixel comes from where it would have before, seen from the right.
    images = noise(50, (5, 5, 1))
    moved = augment(images, ImageAugmentation(pad_and_crop=2), SEED).numpy()
    both = augment(images, ImageAugmentation(pad_and_crop=2, flip_left_right=1.0), SEED).numpy()
    assert np.array_equal(both, moved[:, :, ::-1])


def test_the_seed_decides():
    images = np.repeat(noise(1), 8, axis=0)
    first, again, other = (
        augment(images, ALL, tf.constant(seed)).numpy() for seed in ([1, 2], [1, 2], [1, 3])
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({image.tobytes() for image in first}) == 8  # each image has its own draw


def test_in_a_graph_with_any_batch_size():
    images = noise(4)
    graph = tf.function(
        lambda images: augment(images, ALL, SEED), input_signature=[tf.TensorSpec((None, 6, 5, 2))]
    )
    found = graph(images)
    assert found.shape == images.shape and found.dtype == tf.float32
    assert found.numpy() == pytest.approx(augment(images, ALL, SEED).numpy(), abs=1e-5)
    assert found.numpy().min() >= -1.0 and found.numpy().max() <= 1.0
