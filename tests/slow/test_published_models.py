"""The published models of stage 1, at full size, take a step at their published batch."""

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.cyclegan import CycleGAN
from model_patching.components.cyclegan_trainer.image_augmentation import augment
from model_patching.data.dataset import SPLITS
from model_patching.pipelines.config import load_config

BATCH = {"mnist_correlation_camel": 25, "waterbirds_camel": 4, "celeba_undersampled_camel": 16}


@pytest.mark.parametrize("preset", BATCH)
def test_takes_a_step(preset, tmp_path):
    overrides = []
    if not preset.startswith("mnist"):
        for split in SPLITS:
            (tmp_path / split).mkdir()
            (tmp_path / split / "data-00000-of-00001.tfrecord.gz").touch()
        overrides = [f"data.records={tmp_path}"]
    config = load_config(preset, overrides)
    settings, shape = config.translation.trainer, config.data.description.image_shape
    assert settings.batch_size == BATCH[preset]
    gan = CycleGAN(shape, settings, seed=1)
    generator = np.random.default_rng(0)
    source, target = generator.uniform(-1, 1, (2, settings.batch_size, *shape)).astype(np.float32)

    @tf.function
    def step(seed):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        return gan.train_step(
            augment(source, settings.augmentation, seeds[0]),
            augment(target, settings.augmentation, seeds[1]),
            seed,
        )

    before = [variable.numpy() for variable in gan.generator_variables]
    losses = step(tf.constant([1, 2]))
    assert all(np.isfinite(loss) for loss in losses.values())
    for variable, start in zip(gan.generator_variables, before, strict=True):
        assert not np.array_equal(variable.numpy(), start), variable.path
