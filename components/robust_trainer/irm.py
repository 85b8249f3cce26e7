"""Invariant risk minimization: a penalty where a group would have the logits scaled.

Source: Arjovsky et al. 2019, "Invariant Risk Minimization", equation IRMv1, with a scalar dummy classifier w and the
groups as environments.
"""

import tensorflow as tf

from model_patching.components.robust_trainer.replicas import mean_over_replicas


def irm_penalty(logits: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Mean over the groups of (d/dw mean cross-entropy(w * logits, label))² at w = 1.

    The derivative of one example's cross-entropy is sum_c (p_c - y_c) * logit_c. It is averaged over the group's
    examples, on all devices together, before it is squared.

    Args:
        logits: float32 [groups, examples of each, C].
        label: int32 [groups, examples of each].

    Returns:
        float32 [].
    """
    residual = tf.nn.softmax(logits) - tf.one_hot(label, logits.shape[-1])
    derivative = tf.reduce_mean(tf.reduce_sum(residual * logits, axis=-1), axis=-1)
    return tf.reduce_mean(mean_over_replicas(derivative) ** 2)


def irm_weight(step: tf.Tensor, full: float, anneal_steps: int) -> tf.Tensor:
    """Weight of the penalty: 0 in the first `anneal_steps` steps, then `full`; float32 []."""
    return tf.where(step < anneal_steps, 0.0, full)
