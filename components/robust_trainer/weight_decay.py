"""The published weight decay, an L2 penalty in the loss."""

from collections.abc import Sequence

import keras
import tensorflow as tf


def weight_decay(variables: Sequence[keras.Variable], rate: float) -> tf.Tensor:
    """rate * sum of 0.5 * ||w||^2 over the variables, biases included; float32 []."""
    return rate * tf.add_n([tf.nn.l2_loss(tf.cast(variable, tf.float32)) for variable in variables])
