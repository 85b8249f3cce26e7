"""CAMEL's consistency penalty: the predictions on an image and on its renditions should agree.

Source: Goel et al. 2020, "Model Patching", equation 4, for K subgroups instead of two.
"""

import tensorflow as tf


def camel_consistency(log_probabilities: tf.Tensor, patched_log_probabilities: tf.Tensor) -> tf.Tensor:
    """0.5 * KL(p || m) + 0.5 * mean_k KL(p_k || m), where m = mean_k p_k.

    With two subgroups that is the published 0.5 KL(p||m) + 0.25 KL(p_1||m) + 0.25 KL(p_2||m).

    Args:
        log_probabilities: float32 [n, C], the logarithm of p, of the image.
        patched_log_probabilities: float32 [n, K, C], the logarithm of p_k, of its rendition in each subgroup.

    Returns:
        float32 [n], natural-log units, 0 where all predictions agree.
    """
    renditions = tf.cast(tf.shape(patched_log_probabilities)[1], tf.float32)
    log_mean = tf.reduce_logsumexp(patched_log_probabilities, axis=1) - tf.math.log(renditions)
    of_image = kl_divergence(log_probabilities, log_mean)
    of_patched = kl_divergence(patched_log_probabilities, log_mean[:, None, :])
    return 0.5 * of_image + 0.5 * tf.reduce_mean(of_patched, axis=1)


def kl_divergence(log_p: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
    """KL(p || q) over the last axis, from logarithms, so that probabilities of 0 do no harm."""
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)
