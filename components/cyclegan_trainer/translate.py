"""Translates images with a trained generator."""

import keras
import tensorflow as tf


def translate(generator: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """The rendition of each image in the generator's target subgroup.

    With batch normalization by batch statistics a rendition depends on the images beside it; no variable changes.

    Args:
        generator: see `generator.generator`.
        images: float32 [n, H, W, C] in [-1, 1].

    Returns:
        float32 [n, H, W, C] in [-1, 1].
    """
    return tf.clip_by_value(generator(images, training=False), -1.0, 1.0)
