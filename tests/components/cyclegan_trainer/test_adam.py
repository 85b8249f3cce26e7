import keras
import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.adam import Adam
from model_patching.components.cyclegan_trainer.learning_rate import ConstantThenLinear


def after(optimizer, start, steps):
    """The variables and the optimizer's state after some steps from `start` along given gradients."""
    variables = [keras.Variable(value) for value in start]
    optimizer.build(variables)
    apply = tf.function(lambda gradients: optimizer.apply_gradients(zip(gradients, variables, strict=True)))
    for gradients in steps:
        apply([tf.constant(gradient) for gradient in gradients])
    return [value.numpy() for value in variables + optimizer.variables]


@pytest.mark.parametrize("rate", [0.1, ConstantThenLinear(0.1, 6, 0.5)])
def test_same_as_keras(rate):
    random = np.random.default_rng(0)
    start = [random.normal(size=shape).astype(np.float32) for shape in ((3, 4), (5,))]
    steps = [[random.normal(size=value.shape).astype(np.float32) for value in start] for _ in range(5)]
    ours, theirs = (after(kind(rate, beta_1=0.4), start, steps) for kind in (Adam, keras.optimizers.Adam))
    for mine, its in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(its, rel=1e-5, abs=1e-6)
    assert not np.allclose(ours[0], start[0], atol=0.05)


def test_first_steps_by_hand():
    variable = keras.Variable([1.0])
    optimizer = Adam(0.1, beta_1=0.5)
    optimizer.build([variable])
    # m and v without their bias are g and g² at first: a step of the rate. Then g = 2 after 1:
    # m = (.25·1 + .5·2) / .75 = 5/3; v = (.000999·1 + .001·4) / .001999 = 2.5008.
    optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    assert variable.numpy() == pytest.approx([0.9], abs=1e-5)
    optimizer.apply_gradients([(tf.constant([2.0]), variable)])
    assert variable.numpy() == pytest.approx([0.9 - 0.1 * (5 / 3) / 2.50075**0.5], abs=1e-5)
