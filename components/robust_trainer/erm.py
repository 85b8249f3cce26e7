"""Empirical risk minimization: the mean loss over examples drawn in proportion to their number."""

import tensorflow as tf


def erm_loss(example_loss: tf.Tensor) -> tf.Tensor:
    """Mean of the examples' losses.

    Args:
        example_loss: float32, any shape.

    Returns:
        float32 [].
    """
    return tf.reduce_mean(example_loss)
