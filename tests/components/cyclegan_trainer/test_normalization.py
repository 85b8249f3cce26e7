import keras
import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.normalization import BatchNormalization, normalize
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings


def batch(count=6, shape=(5, 4, 3)):
    return np.random.default_rng(0).normal([1, -2, 30], [1, 5, 4], (count, *shape)).astype(np.float32)


def network(shape=(5, 4, 3), **settings):
    image = keras.Input(shape)
    return keras.Model(image, normalize(image, CycleGANTrainerSettings(**settings)))


def by_hand(images, axes, epsilon):
    mean, variance = images.mean(axis=axes, keepdims=True), images.var(axis=axes, keepdims=True)
    return (images - mean) / np.sqrt(variance + epsilon)


def test_instance_normalization_is_over_the_pixels_of_a_channel():
    images = batch()
    for training in (True, False):
        found = network(norm="instancenorm")(images, training=training).numpy()
        assert found == pytest.approx(by_hand(images, (1, 2), 1e-5), abs=1e-3)


def test_instance_normalization_leaves_single_pixels_alone():
    images = batch(shape=(1, 1, 3))
    assert np.array_equal(network((1, 1, 3), norm="instancenorm")(images), images)


@pytest.mark.parametrize("translate_with", ["batch_statistics", "moving_averages"])
def test_training_normalizes_over_the_batch_and_moves_the_averages(translate_with):
    model = network(norm="batchnorm", translate_with=translate_with, batch_size=6)
    images = batch()
    assert model(images, training=True).numpy() == pytest.approx(by_hand(images, (0, 1, 2), 1e-3), abs=1e-3)
    (layer,) = (layer for layer in model.layers if isinstance(layer, BatchNormalization))
    # Keras's momentum of 0.99, from a mean of 0 and a variance of 1.
    assert layer.moving_mean.numpy() == pytest.approx(0.01 * images.mean(axis=(0, 1, 2)), rel=1e-4)
    variance = images.var(axis=(0, 1, 2))
    assert layer.moving_variance.numpy() == pytest.approx(0.99 + 0.01 * variance, rel=1e-4)


def test_training_normalizes_several_batches_each_by_itself():
    model = network(norm="batchnorm", batch_size=2)
    images = batch() * np.repeat([1, 2, 3], 2)[:, None, None, None].astype(np.float32)
    parts = np.split(images, 3)
    expected = np.concatenate([by_hand(part, (0, 1, 2), 1e-3) for part in parts])
    assert model(images, training=True).numpy() == pytest.approx(expected, abs=1e-3)
    # The averages take in the mean of the three batches' moments; those of all the images have a larger variance.
    (layer,) = (layer for layer in model.layers if isinstance(layer, BatchNormalization))
    mean = np.mean([part.mean(axis=(0, 1, 2)) for part in parts], axis=0)
    variance = np.mean([part.var(axis=(0, 1, 2)) for part in parts], axis=0)
    assert layer.moving_mean.numpy() == pytest.approx(0.01 * mean, rel=1e-4)
    assert layer.moving_variance.numpy() == pytest.approx(0.99 + 0.01 * variance, rel=1e-4)
    # Translations are one batch, however many they are.
    for count in (1, 5, 6):
        found = model(images[:count], training=False).numpy()
        assert found == pytest.approx(by_hand(images[:count], (0, 1, 2), 1e-3), abs=1e-3)


def test_gradients_are_those_of_separate_calls():
    model = network(norm="batchnorm", batch_size=3)
    images = tf.constant(batch())
    gradients = []
    for calls in (1, 2):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.concat([model(part, training=True) for part in tf.split(images, calls)], 0)
            loss = tf.reduce_sum(outputs**3)
        gradients.append(tape.gradient(loss, [images, *model.trainable_variables]))
    for together, apart in zip(*gradients, strict=True):
        assert together.numpy() == pytest.approx(apart.numpy(), rel=1e-3, abs=1e-3)


def test_afterwards_by_the_batchs_own_moments_or_the_moving_averages():
    images = batch()
    for translate_with in ("batch_statistics", "moving_averages"):
        model = network(norm="batchnorm", translate_with=translate_with)
        (layer,) = (layer for layer in model.layers if isinstance(layer, BatchNormalization))
        gamma, beta, mean, variance = [2.0, 1.0, 3.0], [0.0, 1.0, -1.0], [1.0, 0.0, 20.0], [4.0, 1.0, 9.0]
        layer.set_weights([np.array(value) for value in (gamma, beta, mean, variance)])
        if translate_with == "batch_statistics":
            expected = by_hand(images, (0, 1, 2), 1e-3)
        else:
            expected = (images - mean) / np.sqrt(np.array(variance) + 1e-3)
        found = model(images, training=False).numpy()
        assert found == pytest.approx(expected * gamma + beta, abs=1e-3)
        # No variable moves.
        assert np.array_equal(layer.get_weights(), np.array([gamma, beta, mean, variance], np.float32))


def test_is_rebuilt_from_its_config():
    layer = BatchNormalization(7, "moving_averages")
    again = BatchNormalization.from_config(layer.get_config())
    assert (again.batch_size, again.translate_with) == (7, "moving_averages")
