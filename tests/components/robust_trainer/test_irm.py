import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.robust_trainer.irm import irm_penalty, irm_weight


def test_by_hand():
    # One group, logits (0, ln 3), label 1: p = (1/4, 3/4). d/dw = 1/4 * 0 + (3/4 - 1) * ln 3 = -.274653.
    # A second example with label 0: (3/4 - 0) * ln 3 = .823959. Mean .274653, squared .075434.
    logits = tf.constant([[[0.0, np.log(3.0)], [0.0, np.log(3.0)]]], tf.float32)
    assert irm_penalty(logits, tf.constant([[1, 0]])).numpy() == pytest.approx(0.075434, abs=1e-6)


def test_is_the_squared_derivative_by_a_scale_of_the_logits():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (3, 5, 4)).astype(np.float32)
    label = generator.integers(0, 4, (3, 5))
    squares = []
    for group in range(3):
        scale = tf.constant(1.0)
        with tf.GradientTape() as tape:
            tape.watch(scale)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(label[group], scale * logits[group])
            loss = tf.reduce_mean(losses)
        squares.append(float(tape.gradient(loss, scale)) ** 2)
    assert irm_penalty(tf.constant(logits), tf.constant(label)).numpy() == pytest.approx(
        np.mean(squares), rel=1e-4
    )


def test_weight_starts_after_the_annealing():
    assert [float(irm_weight(tf.constant(step), 7.0, 3)) for step in range(5)] == [0, 0, 0, 7, 7]
