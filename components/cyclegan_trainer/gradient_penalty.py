"""Gradient penalties of the discriminators: their slope near the data is drawn towards 1."""

from collections.abc import Callable

import tensorflow as tf


def gradient_penalty(
    kind: str, discriminator: Callable, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """mean (‖∇D(x)‖ - 1)² over points x on the way from each real image to another point.

    D(x) is the sum of an image's patch logits, as in the published code, and the norm goes over all its pixels.

    Args:
        kind: "wgan-gp" goes to a translated image (Gulrajani et al. 2017, arXiv:1704.00028, equation 3), "dragan" to
            the real one with noise, x + 0.5 * std * U, where std is that of the whole batch and U is uniform in
            [0, 1] for each pixel (Kodali et al. 2017, arXiv:1705.07215, and its code).
        discriminator: float32 [n, H, W, C] → logits [n, h, w, 1].
        real: float32 [n, H, W, C].
        fake: float32 [n, H, W, C]; "dragan" doesn't look at it.
        seed: int32 [2]; the same seed draws the same points.

    Returns:
        float32 [].
    """
    noise_seed, way_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    if kind == "dragan":
        noise = tf.random.stateless_uniform(tf.shape(real), noise_seed)
        other = real + 0.5 * tf.math.reduce_std(real) * noise
    else:
        other = fake
    way = tf.random.stateless_uniform([tf.shape(real)[0], 1, 1, 1], way_seed)
    points = real + way * (other - real)
    with tf.GradientTape() as tape:
        tape.watch(points)
        logits = discriminator(points)
    gradients = tape.gradient(logits, points)
    squares = tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3])
    norms = tf.sqrt(squares + 1e-12)  # the slope of the root is infinite at 0
    return tf.reduce_mean(tf.square(norms - 1.0))
