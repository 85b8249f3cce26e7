import functools
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.cyclegan import CycleGAN
from model_patching.components.cyclegan_trainer.gradient_penalty import gradient_penalty
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings, ImageAugmentation

SHAPE = (8, 8, 1)
BATCH = 3
RATES = {"generator_learning_rate": 1e-3, "discriminator_learning_rate": 2e-3}
SEED = tf.constant([1, 2])


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


def adversarial(kind, logits, real):
    if kind == "bce":
        return -tf.reduce_mean(tf.math.log(tf.sigmoid(logits) if real else 1 - tf.sigmoid(logits)))
    if kind == "lsgan":
        return tf.reduce_mean((logits - (1.0 if real else 0.0)) ** 2)
    return tf.reduce_mean(-logits if real else logits)


def generator_losses(gan, source, target):
    """Each term by itself, each call by itself, from the formulas.

    The networks are called as for translation, which with batch statistics is the same but changes no moving average.
    """
    kind = gan.settings.gan_loss
    fake_target, fake_source = gan.forward(source), gan.backward(target)
    losses = {
        "adversarial": adversarial(kind, gan.target_discriminator(fake_target), real=True)
        + adversarial(kind, gan.source_discriminator(fake_source), real=True)
    }
    losses["cycle"] = tf.reduce_mean(abs(gan.backward(fake_target) - source))
    weighted_cycle = 10.0 * losses["cycle"]
    if not gan.settings.source_cycle_loss_only:
        target_cycle = tf.reduce_mean(abs(gan.forward(fake_source) - target))
        losses["cycle"] += target_cycle
        scale = gan.settings.target_cycle_loss_scale
        weighted_cycle += (10.0 if scale is None else scale) * target_cycle
    losses["identity"] = 0.5 * tf.reduce_mean(abs(gan.forward(target) - target))
    losses["identity"] += 0.5 * tf.reduce_mean(abs(gan.backward(source) - source))
    losses["generator"] = losses["adversarial"] + weighted_cycle + 3.0 * losses["identity"]
    return losses


def discriminator_loss(gan, source, target, past_source, past_target):
    loss = 0.0
    for network, real, past in (
        (gan.source_discriminator, source, past_source),
        (gan.target_discriminator, target, past_target),
    ):
        loss += 0.5 * adversarial(gan.settings.gan_loss, network(real), real=True)
        loss += 0.5 * adversarial(gan.settings.gan_loss, network(past), real=False)
    return loss


def numpy_of(variables):
    return [variable.numpy().copy() for variable in variables]


def restore(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


VARIANTS = [
    {},
    {"norm": "batchnorm"},
    {"gan_loss": "bce", "norm": "batchnorm"},
    {"gan_loss": "wgan", "source_cycle_loss_only": True},
    {"residual_outputs": True, "replay_buffer_size": 0},
    {"target_cycle_loss_scale": 2.0},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_losses_are_those_of_before_the_update(images, variant):
    gan = cyclegan(**variant)
    expected = generator_losses(gan, *images)
    # The buffer is empty: the discriminators see the fakes of this step.
    expected["discriminator"] = discriminator_loss(
        gan, *images, gan.backward(images[1]), gan.forward(images[0])
    )
    found = gan.train_step(*images, SEED)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].numpy() == pytest.approx(value.numpy(), rel=1e-3, abs=1e-5), name
    # The terms differ, so that none can stand for another.
    assert len({round(float(value), 3) for value in expected.values()}) == 5


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_each_update_moves_its_own_networks_along_its_own_gradient(images, variant):
    """The first step of Adam is rate * g / |g|, but for its epsilon, whatever beta_1."""
    gan = cyclegan(**variant)
    fakes = gan.backward(images[1]), gan.forward(images[0])
    with tf.GradientTape(persistent=True) as tape:
        generator_total = generator_losses(gan, *images)["generator"]
        discriminator_total = discriminator_loss(gan, *images, *fakes)
    checked = []
    for variables, loss, rate in (
        (gan.generator_variables, generator_total, RATES["generator_learning_rate"]),
        (gan.discriminator_variables, discriminator_total, RATES["discriminator_learning_rate"]),
    ):
        gradients = [gradient.numpy() for gradient in tape.gradient(loss, variables)]
        checked.append((variables, numpy_of(variables), gradients, rate))
    gan.train_step(*images, SEED)

    for variables, before, gradients, rate in checked:
        cleared = 0
        for variable, start, gradient in zip(variables, before, gradients, strict=True):
            clear = abs(gradient) > 1e-3 * abs(gradient).max() + 1e-4
            cleared += clear.any()
            moved = variable.numpy() - start
            assert moved[clear] == pytest.approx(-rate * np.sign(gradient[clear]), rel=0.1), variable.path
        assert cleared >= len(variables) - 2  # wgan's bias has no gradient


@pytest.mark.parametrize("kind", ["dragan", "wgan-gp"])
@pytest.mark.parametrize("norm", ["instancenorm", "batchnorm"])
def test_gradient_penalty(images, kind, norm):
    """In the discriminators' loss with its scale; their first step follows the gradient of the whole."""
    gan = cyclegan(gradient_penalty=kind, gradient_penalty_scale=4.0, norm=norm)
    fakes = gan.backward(images[1]), gan.forward(images[0])
    seeds = tf.random.experimental.stateless_split(SEED, 8)[5::2]
    networks = gan.source_discriminator, gan.target_discriminator
    with tf.GradientTape() as tape:
        penalty = sum(gradient_penalty(kind, networks[i], images[i], fakes[i], seeds[i]) for i in range(2))
        total = discriminator_loss(gan, *images, *fakes) + 4.0 * penalty
    gradients = numpy_of(tape.gradient(total, gan.discriminator_variables))
    before = numpy_of(gan.discriminator_variables)
    losses = gan.train_step(*images, SEED)

    assert losses["gradient_penalty"].numpy() == pytest.approx(penalty.numpy(), rel=1e-3)
    assert losses["discriminator"].numpy() == pytest.approx(total.numpy(), rel=1e-3)
    for variable, start, gradient in zip(gan.discriminator_variables, before, gradients, strict=True):
        clear = abs(gradient) > 1e-2 * abs(gradient).max() + 1e-4
        moved = variable.numpy() - start
        assert moved[clear] == pytest.approx(-2e-3 * np.sign(gradient[clear]), rel=0.1), variable.path


@pytest.mark.parametrize("norm", ["instancenorm", "batchnorm"])
def test_discriminators_see_all_images_augmented(images, norm):
    """Mirrored for certain, so that no draw matters: losses and updates by hand, the generators' too."""
    gan = cyclegan(discriminator_augmentation=ImageAugmentation(flip_left_right=1.0), norm=norm)

    def mirrored(network):
        return lambda batch: network(tf.reverse(batch, [2]))

    seen = SimpleNamespace(
        settings=gan.settings,
        forward=gan.forward,
        backward=gan.backward,
        source_discriminator=mirrored(gan.source_discriminator),
        target_discriminator=mirrored(gan.target_discriminator),
    )
    fakes = gan.backward(images[1]), gan.forward(images[0])
    with tf.GradientTape() as tape:
        expected = generator_losses(seen, *images)
    gradients = tape.gradient(expected["generator"], gan.generator_variables)
    expected["discriminator"] = discriminator_loss(seen, *images, *fakes)
    unseen = discriminator_loss(gan, *images, *fakes)
    before = numpy_of(gan.generator_variables)
    found = gan.train_step(*images, SEED)
    for name, value in expected.items():
        assert found[name].numpy() == pytest.approx(value.numpy(), rel=1e-3, abs=1e-5), name
    assert found["discriminator"].numpy() != pytest.approx(unseen.numpy(), rel=1e-3)
    for gradient, old, variable in zip(gradients, before, gan.generator_variables, strict=True):
        clear = abs(gradient.numpy()) > 1e-4
        assert np.array_equal(np.sign(old - variable.numpy())[clear], np.sign(gradient.numpy())[clear])


def test_without_identity_loss_it_is_not_computed(images):
    gan = cyclegan(identity_loss_scale=0.0)
    expected = generator_losses(gan, *images)
    found = gan.train_step(*images, SEED)
    assert set(found) == {"generator", "adversarial", "cycle", "discriminator"}
    total = expected["adversarial"] + 10.0 * expected["cycle"]
    assert found["generator"].numpy() == pytest.approx(total.numpy(), rel=1e-4)


def test_discriminators_learn_from_past_fakes(images):
    gan = cyclegan()
    gan.train_step(*images, SEED)  # fills the buffers
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
        expected = discriminator_loss(gan, *images, *past)
        restore(gan.discriminator_variables, now)
        assert loss.numpy() == pytest.approx(expected.numpy(), rel=1e-4)
    assert 0 < swapped < 4 * 2 * BATCH


def nearest(image, pool):
    distances = [abs(image - other).max() for other in pool]
    assert min(distances) < 1e-5
    return int(np.argmin(distances))


@pytest.mark.parametrize("still", ["generator", "discriminator"])
def test_one_update_leaves_the_others_networks_alone(images, monkeypatch, still):
    gan = cyclegan()
    monkeypatch.setattr(getattr(gan, f"{still}_optimizer"), "apply_gradients", lambda pairs: list(pairs))
    before = {name: numpy_of(getattr(gan, f"{name}_variables")) for name in ("generator", "discriminator")}
    gan.train_step(*images, SEED)
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


EVERYTHING = {
    "generator_filters": (4, 4, 8),
    "dropout": 0.5,
    "norm": "batchnorm",
    "gradient_penalty": "wgan-gp",
    "decay_from": 0.0,
    "steps": 5,
}


def batch(number):
    random = np.random.default_rng(number)
    return [tf.constant(random.uniform(-1, 1, (BATCH, *SHAPE)).astype(np.float32)) for _ in range(2)]


def test_the_variables_are_all_that_a_training_goes_on_from():
    first = cyclegan(**EVERYTHING)
    for number in range(2):
        first.train_step(*batch(number), tf.constant([7, number]))
    held = numpy_of(first.variables)
    expected = first.train_step(*batch(2), tf.constant([7, 2]))

    # Another seed: nothing but the variables may tie the second to the first.
    second = cyclegan(seed=5, **EVERYTHING)
    fresh = numpy_of(second.variables)

    def same_after_a_step(start):
        restore(second.variables, start)
        losses = second.train_step(*batch(2), tf.constant([7, 2]))
        return all(np.array_equal(losses[name], expected[name]) for name in expected) and all(
            np.array_equal(one, other) for one, other in zip(first.variables, second.variables, strict=True)
        )

    assert all(isinstance(variable, tf.Variable) for variable in first.variables)
    assert same_after_a_step(held)
    # Each kind of them is needed.
    dropouts = [layer.seed_generator.state for layer in second.forward.layers if "dropout" in layer.name]
    for kind in (
        [variable.value for variable in dropouts],
        [variable.value for variable in second.forward.non_trainable_variables],
        [variable.value for variable in second.generator_optimizer.variables],
        [second.discriminator_optimizer.iterations.value],
        [second.source_replay.images],
        [second.target_replay.filled],
    ):
        positions = {id(variable) for variable in kind}
        assert kind and positions <= {id(variable) for variable in second.variables}
        missing = [
            new if id(variable) in positions else old
            for variable, old, new in zip(second.variables, held, fresh, strict=True)
        ]
        assert not same_after_a_step(missing)


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


# For each option of the networks and of the step: another value, and what else must be set.
OPTIONS = {
    "generator_filters": ((8, 4), {}),
    "discriminator_filters": ((8, 4), {}),
    "dropout": (0.5, {}),
    "norm": ("batchnorm", {}),
    "residual_outputs": (True, {}),
    "output_init": (0.2, {}),
    "gan_loss": ("bce", {}),
    "gradient_penalty": ("dragan", {}),
    "gradient_penalty_scale": (3.0, {"gradient_penalty": "wgan-gp"}),
    "cycle_loss_scale": (3.0, {}),
    "target_cycle_loss_scale": (1.0, {}),
    "source_cycle_loss_only": (True, {}),
    "identity_loss_scale": (1.0, {}),
    "replay_buffer_size": (2 * BATCH, {}),
    "generator_learning_rate": (3e-3, {}),
    "discriminator_learning_rate": (3e-3, {}),
    "generator_beta_1": (0.9, {}),
    "discriminator_beta_1": (0.9, {}),
    "schedule": ("constant", {}),
    "decay_from": (0.0, {}),
    "steps": (4, {}),
    "mixed_precision": ("on", {}),
    "discriminator_augmentation": (ImageAugmentation(flip_left_right=1.0), {}),
}
# For the batches, the diagnoses and the loop around the step; the last for translation alone.
OF_OTHERS = {
    "take",
    "batch_size",
    "augmentation",
    "jit_compile",
    "log_every",
    "diagnose_every",
    "diagnose_images",
    "diagnose_tolerance",
    "epochs",
    "patience",
    "sheet_every",
    "checkpoint_every",
    "probe",
    "translate_with",
}


@functools.cache
def weights_after_three_steps(**settings):
    gan = cyclegan(**{"steps": 3, **settings})
    for number in range(3):
        gan.train_step(*batch(number), tf.constant([7, number]))
    return [
        np.concatenate([weights.ravel() for weights in numpy_of(variables)])
        for variables in (gan.generator_variables, gan.discriminator_variables)
    ]


@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_is_ignored(option):
    value, others = OPTIONS[option]
    before = weights_after_three_steps(**others)
    after = weights_after_three_steps(**others, **{option: value})
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_every_option_is_tried():
    assert set(OPTIONS) | OF_OTHERS == set(CycleGANTrainerSettings.model_fields)


@pytest.mark.parametrize("norm", ["instancenorm", "batchnorm"])
def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(images, norm):
    gan = cyclegan(mixed_precision="on", norm=norm, gradient_penalty="wgan-gp")
    plain = cyclegan(norm=norm, gradient_penalty="wgan-gp")
    assert {layer.compute_dtype for layer in gan.forward.layers[:-2]} > {"bfloat16"}
    assert all(variable.dtype.is_integer or variable.dtype == tf.float32 for variable in gan.variables)
    assert gan.forward(images[0]).dtype == gan.source_discriminator(images[0]).dtype == tf.float32
    losses, expected = (network.train_step(*images, SEED) for network in (gan, plain))
    for name, value in losses.items():
        assert value.dtype == tf.float32
        assert value.numpy() == pytest.approx(expected[name].numpy(), rel=0.1), name


def test_compiles(images):
    gans = [cyclegan(norm="batchnorm", gradient_penalty="wgan-gp") for _ in range(2)]
    plain = gans[0].train_step(*images, SEED)
    compiled = tf.function(gans[1].train_step, jit_compile=True)(*images, SEED)
    # XLA draws other random numbers, so that the penalty is another.
    for name in ("adversarial", "cycle", "identity", "generator"):
        assert compiled[name].numpy() == pytest.approx(plain[name].numpy(), rel=1e-3), name
    assert compiled["gradient_penalty"].numpy() == pytest.approx(plain["gradient_penalty"].numpy(), rel=0.5)


def test_settings_reach_the_optimizers():
    gan = cyclegan(generator_beta_1=0.25, discriminator_beta_1=0.75)
    assert (gan.generator_optimizer.beta_1, gan.discriminator_optimizer.beta_1) == (0.25, 0.75)
    assert float(gan.generator_optimizer.learning_rate) == pytest.approx(1e-3)
    assert float(gan.discriminator_optimizer.learning_rate) == pytest.approx(2e-3)
