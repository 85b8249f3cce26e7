import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.losses import (
    cycle_loss,
    discriminator_loss,
    identity_loss,
    least_squares,
)

LOGITS = tf.constant([[1.0, 2.0], [-1.0, 0.0]])


def test_least_squares():
    # Towards 1: (0 + 1 + 4 + 1) / 4; towards 0: (1 + 4 + 1 + 0) / 4.
    assert least_squares(LOGITS, 1.0).numpy() == pytest.approx(1.5)
    assert least_squares(LOGITS, 0.0).numpy() == pytest.approx(1.5)
    # Towards 1: (4 + 0) / 2; towards 0: (9 + 1) / 2.
    assert least_squares(tf.constant([3.0, 1.0]), 1.0).numpy() == pytest.approx(2.0)
    assert least_squares(tf.constant([3.0, 1.0]), 0.0).numpy() == pytest.approx(5.0)


def test_discriminator_loss():
    # Real towards 1: 2; fake towards 0: (1 + 0) / 2 = .5; their mean.
    loss = discriminator_loss(tf.constant([3.0, 1.0]), tf.constant([-1.0, 0.0]))
    assert loss.numpy() == pytest.approx(1.25)
    assert discriminator_loss(tf.ones(3), tf.zeros(3)).numpy() == 0.0


def test_cycle_loss():
    # (|.5 - 1| + |-1 - 1|) / 2
    assert cycle_loss(tf.constant([1.0, 1.0]), tf.constant([0.5, -1.0])).numpy() == pytest.approx(1.25)


def test_identity_loss_is_half_of_that():
    assert identity_loss(tf.constant([1.0, 1.0]), tf.constant([0.5, -1.0])).numpy() == pytest.approx(0.625)
