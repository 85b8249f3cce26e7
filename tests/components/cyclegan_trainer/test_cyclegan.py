from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.cyclegan import ConstantThenLinear, CycleGAN
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings

SHAPE = (8, 8, 1)
BATCH = 3
RATES = {"generator_learning_rate": 1e-3, "discriminator_learning_rate": 2e-3}


def cyclegan(seed=1, **changes):
    settings = {
        "generator_filters": (4, 8),
        "discriminator_filters": (4, 8),
        "steps": 100,
        "batch_size": BATCH,
        "replay_buffer_size": BATCH,
        "cycle_loss_scale": 10.0,
        "identity_loss_scale": 3.0,
        **RATES,
    }
    gan = CycleGAN(SHAPE, CycleGANTrainerSettings(**(settings | changes)), seed)
    # At the start every output is nearly zero: larger weights tell the terms apart.
    for variable in gan.generator_variables + gan.discriminator_variables:
        variable.assign(variable * 4.0)
    return gan


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    source, target = generator.uniform(-1, 1, (2, BATCH, *SHAPE)).astype(np.float32)
    return tf.constant(source), tf.constant(target)


def generator_losses(gan, source, target):
    """Each term by itself, each call by itself, from the formulas."""
    fake_target, fake_source = gan.forward(source), gan.backward(target)
    adversarial = tf.reduce_mean((gan.target_discriminator(fake_target) - 1) ** 2)
    adversarial += tf.reduce_mean((gan.source_discriminator(fake_source) - 1) ** 2)
    cycle = tf.reduce_mean(abs(gan.backward(fake_target) - source))
    cycle += tf.reduce_mean(abs(gan.forward(fake_source) - target))
    identity = 0.5 * tf.reduce_mean(abs(gan.forward(target) - target))
    identity += 0.5 * tf.reduce_mean(abs(gan.backward(source) - source))
    total = adversarial + 10.0 * cycle + 3.0 * identity
    return {"adversarial": adversarial, "cycle": cycle, "identity": identity, "generator": total}


def discriminator_losses(gan, source, target, past_source, past_target):
    loss = 0.0
    for network, real, past in (
        (gan.source_discriminator, source, past_source),
        (gan.target_discriminator, target, past_target),
    ):
        loss += 0.5 * tf.reduce_mean((network(real) - 1) ** 2) + 0.5 * tf.reduce_mean(network(past) ** 2)
    return loss


def numpy_of(variables):
    return [variable.numpy().copy() for variable in variables]


def test_losses_are_those_of_before_the_update(images):
    gan = cyclegan()
    expected = generator_losses(gan, *images)
    # The buffer is empty: the discriminators see the fakes of this step.
    expected["discriminator"] = discriminator_losses(
        gan, *images, gan.backward(images[1]), gan.forward(images[0])
    )
    found = gan.train_step(*images, tf.constant([1, 2]))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].numpy() == pytest.approx(value.numpy(), rel=1e-4), name
    # The terms differ, so that none can stand for another.
    assert len({round(float(value), 3) for value in expected.values()}) == 5


def test_discriminators_learn_from_past_fakes(images):
    gan = cyclegan()
    gan.train_step(*images, tf.constant([1, 2]))  # fills the buffers
    swapped = 0
    for number in range(4):
        fakes = gan.backward(images[1]), gan.forward(images[0])
        before = [buffer.images.numpy() for buffer in (gan.source_replay, gan.target_replay)]
        networks = numpy_of(gan.discriminator_variables)
        loss = gan.train_step(*images, tf.constant([3, number]))["discriminator"]

        # What the discriminators saw is what was there or came in, and isn't there any more.
        past = []
        for fake, stored, buffer in zip(fakes, before, (gan.source_replay, gan.target_replay), strict=True):
            pool = [*stored, *fake.numpy()]
            kept = {nearest(image, pool) for image in buffer.images.numpy()}
            past.append(np.stack([image for i, image in enumerate(pool) if i not in kept]))
            assert len(past[-1]) == BATCH
            swapped += sum(i >= BATCH for i in kept)
        now = numpy_of(gan.discriminator_variables)
        restore(gan.discriminator_variables, networks)
        expected = discriminator_losses(gan, *images, *past)
        restore(gan.discriminator_variables, now)
        assert loss.numpy() == pytest.approx(expected.numpy(), rel=1e-4)
    assert 0 < swapped < 4 * 2 * BATCH


def nearest(image, pool):
    distances = [abs(image - other).max() for other in pool]
    assert min(distances) < 1e-5
    return int(np.argmin(distances))


def restore(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def test_each_update_moves_its_own_networks_along_its_own_gradient(images):
    """The first step of Adam is rate * g / |g|, but for its epsilon, whatever beta_1."""
    gan = cyclegan()
    fakes = gan.backward(images[1]), gan.forward(images[0])
    with tf.GradientTape(persistent=True) as tape:
        generator_total = generator_losses(gan, *images)["generator"]
        discriminator_total = discriminator_losses(gan, *images, *fakes)
    checked = []
    for variables, loss, rate in (
        (gan.generator_variables, generator_total, RATES["generator_learning_rate"]),
        (gan.discriminator_variables, discriminator_total, RATES["discriminator_learning_rate"]),
    ):
        gradients = [gradient.numpy() for gradient in tape.gradient(loss, variables)]
        checked.append((variables, numpy_of(variables), gradients, rate))
    gan.train_step(*images, tf.constant([1, 2]))

    for variables, before, gradients, rate in checked:
        for variable, start, gradient in zip(variables, before, gradients, strict=True):
            clear = abs(gradient) > 1e-3 * abs(gradient).max() + 1e-4
            assert clear.any(), variable.path
            moved = variable.numpy() - start
            assert moved[clear] == pytest.approx(-rate * np.sign(gradient[clear]), rel=0.1), variable.path


@pytest.mark.parametrize("still", ["generator", "discriminator"])
def test_one_update_leaves_the_others_networks_alone(images, monkeypatch, still):
    gan = cyclegan()
    monkeypatch.setattr(getattr(gan, f"{still}_optimizer"), "apply_gradients", lambda pairs: list(pairs))
    before = {name: numpy_of(getattr(gan, f"{name}_variables")) for name in ("generator", "discriminator")}
    gan.train_step(*images, tf.constant([1, 2]))
    for name, values in before.items():
        moved = [
            not np.array_equal(value, variable)
            for value, variable in zip(values, numpy_of(getattr(gan, f"{name}_variables")), strict=True)
        ]
        assert not any(moved) if name == still else all(moved)


def test_the_seed_decides_the_step(images):
    results = []
    for seed in (1, 1, 2):
        gan = cyclegan(seed)
        losses = gan.train_step(*images, tf.constant([seed, 2]))
        results.append(
            [loss.numpy() for loss in losses.values()]
            + numpy_of(gan.generator_variables + gan.discriminator_variables)
        )
    assert all(np.array_equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(results[0][:5], results[2][:5], strict=True))


def test_no_two_networks_start_alike():
    gans = [cyclegan(seed) for seed in (0, 1, 2)]
    generators = Counter(
        network.get_weights()[0].tobytes() for gan in gans for network in (gan.forward, gan.backward)
    )
    discriminators = Counter(
        network.get_weights()[0].tobytes()
        for gan in gans
        for network in (gan.source_discriminator, gan.target_discriminator)
    )
    assert len(generators) == len(discriminators) == 6


def test_learns_to_undo_a_translation():
    """Source: an even grey, darker or lighter. Target: the same with a white square."""
    generator = np.random.default_rng(0)
    settings = CycleGANTrainerSettings(
        generator_filters=(8, 16),
        discriminator_filters=(8, 16),
        steps=400,
        batch_size=8,
        generator_learning_rate=5e-3,
        discriminator_learning_rate=1e-3,
    )
    gan = CycleGAN(SHAPE, settings, seed=0)
    step = tf.function(gan.train_step)
    cycle = []
    for number in range(100):
        source, target = (
            np.repeat(generator.uniform(-1, 0, (2, 8, 1, 1, 1)), 8, 2).repeat(8, 3).astype(np.float32)
        )
        target[:, 2:5, 2:5] = 1.0
        cycle.append(float(step(tf.constant(source), tf.constant(target), tf.constant([0, number]))["cycle"]))
    # Giving back the same image whatever came in leaves an error of 1/4 in each direction.
    assert np.mean(cycle[:5]) > 0.5
    assert np.mean(cycle[-5:]) < 0.25


def test_learning_rate_is_constant_and_then_falls_to_zero():
    rate = ConstantThenLinear(0.2, 10)
    # Half of ten steps at .2, then .2 * 2 * (1 - step / 10).
    found = [float(rate(tf.constant(step))) for step in (0, 4, 5, 6, 8, 9, 10)]
    assert found == pytest.approx([0.2, 0.2, 0.2, 0.16, 0.08, 0.04, 0.0])
    assert ConstantThenLinear(**rate.get_config()).get_config() == rate.get_config()


def test_settings_reach_the_optimizers():
    gan = cyclegan(beta_1=0.25)
    assert gan.generator_optimizer.beta_1 == gan.discriminator_optimizer.beta_1 == 0.25
    assert float(gan.generator_optimizer.learning_rate) == pytest.approx(1e-3)
    assert float(gan.discriminator_optimizer.learning_rate) == pytest.approx(2e-3)
