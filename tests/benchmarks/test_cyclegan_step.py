import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.cyclegan import CycleGAN
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "cyclegan_step.py"
SPEC = importlib.util.spec_from_file_location("cyclegan_step", PATH)
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)

SHAPE = (8, 8, 1)


def toy(norm):
    settings = CycleGANTrainerSettings(
        generator_filters=(4, 8), discriminator_filters=(4, 8), batch_size=3, replay_buffer_size=3, norm=norm
    )
    gan = CycleGAN(SHAPE, settings, seed=1)
    for variable in gan.generator_variables + gan.discriminator_variables:
        variable.assign(variable * 4.0)  # at the start every gradient is nearly zero
    return gan


@pytest.fixture
def eagerly():
    tf.config.run_functions_eagerly(True)  # tracing would take longer
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("norm", ["instancenorm", "batchnorm"])
def test_both_steps_do_the_same(norm, eagerly):
    random = np.random.default_rng(0)
    this, textbook = toy(norm), toy(norm)
    steps = this.train_step, benchmark.textbook_step(textbook)
    for number in range(2):
        images = [tf.constant(random.uniform(-1, 1, (3, *SHAPE)).astype(np.float32)) for _ in range(2)]
        losses = [step(*images, tf.constant([1, number])) for step in steps]
        assert losses[0]["discriminator"].numpy() == pytest.approx(
            losses[1]["discriminator"].numpy(), rel=1e-3
        )
    variables = [gan.generator_variables + gan.discriminator_variables for gan in (this, textbook)]
    start = toy(norm)
    moved = 0.0
    for mine, its, before in zip(
        *variables, start.generator_variables + start.discriminator_variables, strict=True
    ):
        # Where a gradient is nearly zero, Adam follows its rounding error: few weights.
        apart = abs(mine.numpy() - its.numpy()) > 2e-5
        assert apart.mean() < 0.1, mine.path
        moved = max(moved, abs(mine.numpy() - before.numpy()).max())
    assert moved > 2e-4


def test_work_by_hand():
    gan = toy("instancenorm")
    # Downs: 4×4 pixels of 4·4·1·4, 2×2 of 4·4·4·8; up: 2×2 of 4·4·8·4; last: 4×4 of 4·4·8·1.
    generator = [16 * 64, 4 * 512, 4 * 512, 16 * 128]
    assert benchmark.convolution_work(gan.forward) == (generator[0], sum(generator))
    # 4×4 of 4·4·1·4, 4×4 of 4·4·4·8, 4×4 of 4·4·8·1.
    judge = [16 * 64, 16 * 512, 16 * 128]
    assert benchmark.convolution_work(gan.source_discriminator) == (judge[0], sum(judge))
    calls = 18 * sum(generator) - 4 * generator[0] + 16 * sum(judge) - 4 * judge[0]
    assert benchmark.step_flop(gan) == 2 * 3 * calls


def test_where_the_time_goes():
    gan = toy("batchnorm")
    step = tf.function(gan.train_step)
    images = tf.zeros((3, *SHAPE))
    step(images, images, tf.constant([1, 1]))
    parts, kinds = benchmark.where_the_time_goes(lambda: step(images, images, tf.constant([1, 2])))
    assert sum(parts.values()) == pytest.approx(1.0) and sum(kinds.values()) == pytest.approx(1.0)
    assert set(parts) == set(benchmark.PARTS.values())
    assert set(kinds) == set(benchmark.KINDS.values())
