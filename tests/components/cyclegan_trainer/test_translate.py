import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.generator import generator
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.cyclegan_trainer.translate import translate

SHAPE = (16, 16, 1)


def trained(**settings):
    """A generator whose variables are no longer what they were built with."""
    settings = CycleGANTrainerSettings(generator_filters=(4, 8, 8, 8), **settings)
    model = generator(SHAPE, settings, 0, "g")
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(variable * 5.0 + random.normal(scale=0.05, size=variable.shape))
    for variable in model.non_trainable_variables:
        variable.assign(random.uniform(0.5, 2.0, variable.shape))
    return model


def images(count):
    return np.random.default_rng(1).uniform(-1, 1, (count, *SHAPE)).astype(np.float32)


def state(model):
    return [variable.numpy() for variable in model.variables]


@pytest.mark.parametrize(
    "settings",
    [
        {"norm": "batchnorm", "dropout": 0.5},
        {"norm": "batchnorm", "translate_with": "moving_averages", "dropout": 0.5},
        {"norm": "instancenorm", "dropout": 0.5},
    ],
)
def test_no_variable_changes_and_nothing_is_drawn(settings):
    model = trained(**settings)
    before = state(model)
    first = translate(model, images(5))
    assert all(np.array_equal(a, b) for a, b in zip(before, state(model), strict=True))
    assert np.array_equal(first, translate(model, images(5)))
    assert first.dtype == tf.float32


def test_batch_statistics_are_those_of_training():
    model = trained(norm="batchnorm", batch_size=5)
    batch = images(5)
    assert translate(model, batch).numpy() == pytest.approx(model(batch, training=True).numpy(), abs=1e-5)
    # A rendition depends on the images beside it ...
    assert not np.allclose(translate(model, batch[:3])[0], translate(model, batch)[0], atol=1e-2)


def test_with_moving_averages_each_image_is_translated_alone():
    model = trained(norm="batchnorm", translate_with="moving_averages", batch_size=5)
    batch = images(5)
    together = translate(model, batch).numpy()
    assert translate(model, batch[:1]).numpy() == pytest.approx(together[:1], abs=1e-5)
    assert not np.allclose(together, model(batch, training=True), atol=1e-2)


def test_stays_in_range():
    model = trained(residual_outputs=True)
    raw = model(images(3), training=False).numpy()
    assert abs(raw).max() > 1.2
    assert np.array_equal(translate(model, images(3)), raw.clip(-1, 1))
