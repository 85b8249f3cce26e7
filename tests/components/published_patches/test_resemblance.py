import numpy as np
import tensorflow as tf

from model_patching.components.published_patches.resemblance import resembling, thumbnail


def images(count, seed=0):
    """Coarse pictures with a little noise, uint8 [count, 64, 48, 3]."""
    generator = np.random.default_rng(seed)
    coarse = tf.image.resize(
        generator.integers(40, 200, (count, 6, 6, 3)), (64, 48), method="bicubic"
    ).numpy()
    return np.clip(coarse + generator.normal(0, 5, coarse.shape), 0, 255).astype(np.uint8)


def thumbnails(pictures):
    return np.stack([thumbnail(tf.constant(picture)) for picture in pictures])


def test_changed_images_resemble_their_own():
    before = images(40)
    after = np.clip(before * 0.6 + 70, 0, 255).astype(np.uint8)  # paler
    after[:, 40:, :, 2] = 255  # with water on the ground
    after[:, 10:20, ::3] = 0  # and bars that only the translation makes
    found = resembling(thumbnails(before), thumbnails(after))
    assert found.shape == (40,) and found.all()


def test_another_order_is_noticed():
    pictures = thumbnails(images(40))
    assert resembling(pictures, np.roll(pictures, 1, axis=0)).sum() == 0
    half = pictures.copy()
    half[:20] = half[:20][::-1]
    assert resembling(pictures, half).tolist() == [False] * 20 + [True] * 20


def test_a_mark_that_every_patched_image_has_says_nothing():
    """An image that looks like the mark would resemble the palest of them most."""
    generator = np.random.default_rng(0)
    coarse = generator.uniform(5, 30, (40, 1)) * generator.normal(size=(40, 16))
    mark = 100 * generator.normal(size=16)
    assert resembling(coarse, coarse + mark).all()


def test_images_without_any_picture_resemble_nothing():
    assert not resembling(np.zeros((3, 4), np.float32), np.ones((3, 4), np.float32)).any()
