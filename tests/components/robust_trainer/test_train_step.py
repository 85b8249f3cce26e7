import keras
import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.robust_trainer.input_pipeline import Batch
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.train_step import make_train_step, predict_together


def test_predicts_images_and_renditions_in_one_call():
    calls = []

    def model(images, training):
        calls.append(images.shape)
        assert training is True
        return images[:, 0, 0, :]  # the first pixel stands for the logits

    random = np.random.default_rng(0)
    image = random.integers(0, 256, (3, 2, 2, 5)).astype(np.uint8)
    patched = random.integers(0, 256, (3, 4, 2, 2, 5)).astype(np.uint8)
    label = tf.zeros(3, tf.int32)

    def scaled(pixels):
        return pytest.approx(pixels / 127.5 - 1, abs=1e-6)

    logits, patched_logits = predict_together(model, Batch(tf.constant(image), label, tf.constant(patched)))
    assert logits.numpy() == scaled(image[:, 0, 0])
    assert patched_logits.numpy() == scaled(patched[:, :, 0, 0])
    assert calls == [(15, 2, 2, 5)]
    logits, patched_logits = predict_together(
        model, Batch(tf.constant(image), label, tf.constant(patched[:, :0]))
    )
    assert logits.numpy() == scaled(image[:, 0, 0]) and patched_logits is None


@pytest.fixture
def take_step():
    """Takes a step with SGD at rate 1 on two weights of zero; returns the objective's terms and the weights."""

    def take(objective, clip_norm=None, jit_compile=False):
        settings = RobustTrainerSettings(clip_norm=clip_norm, jit_compile=jit_compile)
        inputs = keras.Input((1, 1, 1))
        model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, kernel_initializer="zeros")(inputs))
        (kernel,) = model.trainable_variables
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build([kernel])
        step = make_train_step(model, objective, optimizer, settings, tf.distribute.get_strategy())
        batch = Batch(
            tf.zeros((1, 1, 1, 1), tf.uint8), tf.zeros(1, tf.int32), tf.zeros((1, 0, 1, 1, 1), tf.uint8)
        )
        terms = step(batch, tf.constant(5))
        return {name: float(value) for name, value in terms.items()}, kernel.numpy()[0]

    return take


def weighted_sum(logits, patched_logits, label, variables, step):
    return {"loss": tf.reduce_sum(variables[0] * [[3.0, 4.0]]), "step": tf.cast(step, tf.float32)}


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "clip_norm, expected", [(None, [-3.0, -4.0]), (1.0, [-0.6, -0.8]), (10.0, [-3.0, -4.0])]
)
def test_clips_by_the_norm_of_all_gradients(take_step, clip_norm, expected, jit_compile):
    terms, weights = take_step(weighted_sum, clip_norm, jit_compile)
    assert terms == {"loss": 0.0, "step": 5.0}
    assert weights == pytest.approx(expected, abs=1e-5)


def test_jit_compile_is_xla(take_step):
    """Which can't compile a call of Python."""

    def calls_python(logits, patched_logits, label, variables, step):
        return {"loss": tf.reduce_sum(variables[0]) + tf.numpy_function(np.float32, [1.0], tf.float32)}

    take_step(calls_python)
    with pytest.raises(tf.errors.InvalidArgumentError, match="XLA"):
        take_step(calls_python, jit_compile=True)
