"""The losses of the CycleGAN (Zhu et al. 2017, arXiv:1703.10593), each the mean over all its elements.

The adversarial losses take a discriminator's logits, float32 of any shape, one for each patch:

| `gan_loss` | of a real image    | of a translated one | of a generator, on its translation | source                 |
|------------|--------------------|---------------------|------------------------------------|------------------------|
| bce        | -log sigmoid(x)    | -log(1-sigmoid(x))  | -log sigmoid(x)                    | Goodfellow et al. 2014 |
| lsgan      | (x - 1)²           | x²                  | (x - 1)²                           | Mao et al. 2017        |
| wgan       | -x                 | x                   | -x                                 | Arjovsky et al. 2017   |
"""

import tensorflow as tf


def real_loss(gan_loss: str, logits: tf.Tensor) -> tf.Tensor:
    """How far the discriminator is from calling the images real; a generator lowers it too. float32 []."""
    if gan_loss == "bce":
        return tf.reduce_mean(tf.nn.softplus(-logits))
    if gan_loss == "lsgan":
        return tf.reduce_mean(tf.square(logits - 1.0))
    return -tf.reduce_mean(logits)


def fake_loss(gan_loss: str, logits: tf.Tensor) -> tf.Tensor:
    """How far the discriminator is from calling the images translated; float32 []."""
    if gan_loss == "bce":
        return tf.reduce_mean(tf.nn.softplus(logits))
    if gan_loss == "lsgan":
        return tf.reduce_mean(tf.square(logits))
    return tf.reduce_mean(logits)


def discriminator_loss(gan_loss: str, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
    """The mean of the losses on real and on translated images, as published: for wgan half the usual; float32 []."""
    return 0.5 * (real_loss(gan_loss, real_logits) + fake_loss(gan_loss, fake_logits))


def generator_loss(gan_loss: str, fake_logits: tf.Tensor) -> tf.Tensor:
    """A generator's adversarial loss, from what the discriminator says of its translations; float32 []."""
    return real_loss(gan_loss, fake_logits)


def cycle_loss(image: tf.Tensor, cycled: tf.Tensor) -> tf.Tensor:
    """mean |G(F(x)) - x|, Zhu et al. equation 2; float32 []."""
    return tf.reduce_mean(tf.abs(cycled - image))


def identity_loss(image: tf.Tensor, rendition: tf.Tensor) -> tf.Tensor:
    """0.5 * mean |F(y) - y|: an image already in F's target subgroup should stay as it is; float32 []."""
    return 0.5 * tf.reduce_mean(tf.abs(rendition - image))
