"""The losses of the CycleGAN (Zhu et al. 2017, arXiv:1703.10593), each the mean over all its elements."""

import tensorflow as tf


def least_squares(logits: tf.Tensor, target: float) -> tf.Tensor:
    """Least-squares adversarial loss (Mao et al. 2017): mean (logit - target)^2; the target is 1 for real, 0 for not.

    Args:
        logits: float32, any shape: a discriminator's verdict on each patch.
        target: what it should have said.

    Returns:
        float32 [].
    """
    return tf.reduce_mean(tf.square(logits - target))


def discriminator_loss(real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """Mean of the losses on real and on translated images; float32 []."""
    return 0.5 * (least_squares(real_logits, 1.0) + least_squares(fake_logits, 0.0))


def cycle_loss(image: tf.Tensor, cycled: tf.Tensor) -> tf.Tensor:
    """mean |G(F(x)) - x|, Zhu et al. equation 2; float32 []."""
    return tf.reduce_mean(tf.abs(cycled - image))


def identity_loss(image: tf.Tensor, rendition: tf.Tensor) -> tf.Tensor:
    """0.5 * mean |F(y) - y|: an image already in F's target subgroup should stay as it is; float32 []."""
    return 0.5 * tf.reduce_mean(tf.abs(rendition - image))
