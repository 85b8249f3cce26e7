"""Random changes of images."""

import math

import keras
import tensorflow as tf

from model_patching.components.cyclegan_trainer.settings import ImageAugmentation


def augment(images: tf.Tensor, augmentation: ImageAugmentation, seed: tf.Tensor) -> tf.Tensor:
    """Turns, moves, mirrors and crops each image, in this order and by its own draws.

    The changes are composed into one, so that an image is interpolated (bilinearly) only once. What comes in from
    outside is black. TensorFlow can't compile this with XLA. The gradient is moved back by the opposite change: that is
    exact for moves and mirrors, near it for turns; for crops it has the right direction but isn't made larger.

    Args:
        images: float32 [n, H, W, C] in [-1, 1].
        augmentation: the largest changes; without any, the images are returned as they are.
        seed: int32 [2]; the same seed draws the same changes.

    Returns:
        float32 [n, H, W, C] in [-1, 1].
    """
    if not augmentation.changes:
        return images
    height, width = images.shape[1:3]
    count = tf.shape(images)[0]
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 6))

    degrees = tf.random.stateless_uniform([count], seeds[0], -augmentation.rotation, augmentation.rotation)
    most = augmentation.pad_and_crop
    moves = tf.cast(tf.random.stateless_uniform([count, 2], seeds[1], -most, most + 1, tf.int32), tf.float32)
    mirrored = tf.random.stateless_uniform([count], seeds[2]) < augmentation.flip_left_right
    cut_at_start = tf.random.stateless_uniform([count, 2], seeds[3]) * augmentation.crop
    cut_at_end = tf.random.stateless_uniform([count, 2], seeds[4]) * augmentation.crop

    # Each matrix leads from the place (x, y, 1) of a pixel after the change to its place before.
    zero, one = tf.zeros([count]), tf.ones([count])
    cos, sin = tf.cos(degrees * math.pi / 180), tf.sin(degrees * math.pi / 180)
    x, y = (width - 1) / 2, (height - 1) / 2  # the middle stays
    turn = _matrices((cos, -sin, x - x * cos + y * sin), (sin, cos, y - x * sin - y * cos))
    move = _matrices((one, zero, moves[:, 0]), (zero, one, moves[:, 1]))
    mirror = _matrices(
        (tf.where(mirrored, -1.0, 1.0), zero, tf.where(mirrored, width - 1.0, 0.0)), (zero, one, zero)
    )
    # The outermost pixels of what is left become the image's: nothing comes in from outside.
    left = 1.0 - cut_at_start - cut_at_end
    start = cut_at_start * tf.constant([width - 1.0, height - 1.0])
    crop = _matrices((left[:, 0], zero, start[:, 0]), (zero, left[:, 1], start[:, 1]))

    chosen = tf.random.stateless_uniform([count], seeds[5]) < augmentation.probability
    transform = tf.where(chosen[:, None, None], turn @ move @ mirror @ crop, tf.eye(3))
    transform = tf.reshape(transform, [count, 9])[:, :8]
    return keras.ops.image.affine_transform(
        images, transform, interpolation="bilinear", fill_mode="constant", fill_value=-1.0
    )


def _matrices(first_row: tuple, second_row: tuple) -> tf.Tensor:
    """float32 [n, 3, 3] from two rows of three float32 [n]; the third row is 0, 0, 1."""
    rows = tf.stack([tf.stack(first_row, axis=-1), tf.stack(second_row, axis=-1)], axis=1)
    return tf.pad(rows, [(0, 0), (0, 1), (0, 0)]) + tf.constant([[0.0, 0, 0], [0, 0, 0], [0, 0, 1]])
