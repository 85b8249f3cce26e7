import math

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.losses import (
    cycle_loss,
    discriminator_loss,
    fake_loss,
    generator_loss,
    identity_loss,
    real_loss,
)

# sigmoid(log 3) = 3/4, sigmoid(0) = 1/2
REAL = tf.constant([[math.log(3.0)], [0.0]])
FAKE = tf.constant([[0.0], [-math.log(3.0)]])
LOG2 = math.log(2)
LOG_4_3 = math.log(4 / 3)
LOG4 = math.log(4)


@pytest.mark.parametrize(
    "gan_loss, real, fake, generator",
    [
        # real: -log 3/4 and -log 1/2; fake: -log(1 - 1/2) and -log(1 - 1/4); generator: -log 1/2 and -log 1/4
        ("bce", (LOG_4_3 + LOG2) / 2, (LOG2 + LOG_4_3) / 2, (LOG2 + LOG4) / 2),
        (
            "lsgan",
            ((math.log(3) - 1) ** 2 + 1) / 2,
            math.log(3) ** 2 / 2,
            (1 + (math.log(3) + 1) ** 2) / 2,
        ),
        ("wgan", -math.log(3) / 2, -math.log(3) / 2, math.log(3) / 2),
    ],
)
def test_adversarial_losses(gan_loss, real, fake, generator):
    assert real_loss(gan_loss, REAL).numpy() == pytest.approx(real, rel=1e-5)
    assert fake_loss(gan_loss, FAKE).numpy() == pytest.approx(fake, rel=1e-5)
    assert discriminator_loss(gan_loss, REAL, FAKE).numpy() == pytest.approx((real + fake) / 2, rel=1e-5)
    assert generator_loss(gan_loss, FAKE).numpy() == pytest.approx(generator, rel=1e-5)


@pytest.mark.parametrize("gan_loss, perfect", [("bce", 0.0), ("lsgan", None), ("wgan", -200.0)])
def test_large_logits_stay_finite(gan_loss, perfect):
    real, fake = tf.fill([4, 2, 2, 1], 200.0), tf.fill([4, 2, 2, 1], -200.0)
    assert np.isfinite(generator_loss(gan_loss, fake))
    if perfect is not None:
        assert discriminator_loss(gan_loss, real, fake).numpy() == pytest.approx(perfect)


def test_cycle_loss():
    # (|.5 - 1| + |-1 - 1|) / 2
    assert cycle_loss(tf.constant([1.0, 1.0]), tf.constant([0.5, -1.0])).numpy() == pytest.approx(1.25)


def test_identity_loss_is_half_of_that():
    assert identity_loss(tf.constant([1.0, 1.0]), tf.constant([0.5, -1.0])).numpy() == pytest.approx(0.625)
