"""Covers parts of training images with noise.

Source: Zhong et al. 2020, "Random Erasing Data Augmentation" (arXiv:1708.04896), with smaller rectangles of more
shapes, and several of them. What has learned from such images hangs less on one place, and on what lies over an image.
"""

import math

import tensorflow as tf

AREA = (0.02, 0.1)  # share of the image, from and to
LARGEST_ASPECT = 10.0  # of height to width, or of width to height


def random_erasing(images: tf.Tensor, rectangles: int, seed: tf.Tensor) -> tf.Tensor:
    """Puts uniform noise into rectangles of each image, by its own draws.

    A rectangle's middle lies anywhere in the image, so that a part of it may lie outside.

    Args:
        images: float32 [n, H, W, C] in [-1, 1].
        rectangles: how many for each image.
        seed: int32 [2]; the same seed draws the same rectangles and noise.

    Returns:
        float32 [n, H, W, C] in [-1, 1].
    """
    height, width = images.shape[1:3]
    count = tf.shape(images)[0]
    noise_seed, *seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 1 + rectangles))
    row = tf.range(height, dtype=tf.float32)[:, None] + 0.5
    column = tf.range(width, dtype=tf.float32)[None, :] + 0.5
    erased = tf.zeros([count, height, width], tf.bool)
    for rectangle_seed in seeds:
        uniform = tf.random.stateless_uniform([4, count, 1, 1], rectangle_seed)
        area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * uniform[0])
        aspect = tf.exp((2 * uniform[1] - 1) * math.log(LARGEST_ASPECT))
        inside_rows = tf.abs(row - height * uniform[2]) < tf.sqrt(area * aspect) / 2
        inside_columns = tf.abs(column - width * uniform[3]) < tf.sqrt(area / aspect) / 2
        erased |= inside_rows & inside_columns
    noise = tf.random.stateless_uniform(tf.shape(images), noise_seed, -1.0, 1.0)
    return tf.where(erased[..., None], noise, images)
