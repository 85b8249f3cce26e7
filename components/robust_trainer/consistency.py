"""Consistency penalties: the predictions on an image and on its renditions should agree.

Source: Goel et al. 2020, "Model Patching", equation 4 and its published variants, for K subgroups instead of two. Each
takes the logarithm of p, the prediction on the image, float32 [n, C], and of p_1 ... p_K, those on its renditions,
float32 [n, K, C], and returns float32 [n] in natural-log units, 0 where all predictions agree.
"""

import tensorflow as tf


def camel(log_probabilities: tf.Tensor, patched_log_probabilities: tf.Tensor) -> tf.Tensor:
    """0.5 * KL(p || m) + 0.5 * mean_k KL(p_k || m), where m = mean_k p_k.

    With two subgroups that is the published 0.5 KL(p||m) + 0.25 KL(p_1||m) + 0.25 KL(p_2||m).
    """
    log_mean = _log_mean(patched_log_probabilities)
    of_image = kl_divergence(log_probabilities, log_mean)
    of_patched = kl_divergence(patched_log_probabilities, log_mean[:, None, :])
    return 0.5 * of_image + 0.5 * tf.reduce_mean(of_patched, axis=1)


def triplet_js(log_probabilities: tf.Tensor, patched_log_probabilities: tf.Tensor) -> tf.Tensor:
    """Jensen-Shannon divergence: the mean of KL(p || m) and all KL(p_k || m), where m is the mean of p and all p_k.

    With two subgroups that is the published 1/3 (KL(p||m) + KL(p_1||m) + KL(p_2||m)).
    """
    together = tf.concat([log_probabilities[:, None, :], patched_log_probabilities], axis=1)
    return tf.reduce_mean(kl_divergence(together, _log_mean(together)[:, None, :]), axis=1)


def kl(log_probabilities: tf.Tensor, patched_log_probabilities: tf.Tensor) -> tf.Tensor:
    """mean_k KL(p || p_k)."""
    return tf.reduce_mean(kl_divergence(log_probabilities[:, None, :], patched_log_probabilities), axis=1)


def reverse_kl(log_probabilities: tf.Tensor, patched_log_probabilities: tf.Tensor) -> tf.Tensor:
    """mean_k KL(p_k || p)."""
    return tf.reduce_mean(kl_divergence(patched_log_probabilities, log_probabilities[:, None, :]), axis=1)


PENALTIES = {"camel": camel, "triplet_js": triplet_js, "kl": kl, "reverse_kl": reverse_kl}


def kl_divergence(log_p: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
    """KL(p || q) over the last axis, from logarithms, so that probabilities of 0 do no harm."""
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)


def _log_mean(log_probabilities: tf.Tensor) -> tf.Tensor:
    """Logarithm of the mean over axis 1: [n, k, C] → [n, C]."""
    count = tf.cast(tf.shape(log_probabilities)[1], tf.float32)
    return tf.reduce_logsumexp(log_probabilities, axis=1) - tf.math.log(count)
