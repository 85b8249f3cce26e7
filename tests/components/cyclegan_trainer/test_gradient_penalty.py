import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.gradient_penalty import gradient_penalty

SHAPE = (200, 3, 2, 2)
KINDS = ["dragan", "wgan-gp"]
SEED = tf.constant([3, 4])


@pytest.fixture
def images():
    real, fake = np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE)).astype(np.float32)
    return tf.constant(real), tf.constant(fake)


class Quadratic:
    """D(x) = ½ Σ x², in six patches: its gradient is x itself. Remembers where it was asked."""

    def __call__(self, points):
        self.points = points.numpy()
        return 0.5 * tf.reduce_sum(points**2, axis=-1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_linear_discriminator(kind, images):
    # D(x) = Σ w·x, in six patches. ∇D = w everywhere; ‖w‖ = √(12 · 0.25) = √3; (√3 - 1)² = 4 - 2√3.
    weight = tf.Variable(0.5 * tf.ones(SHAPE[1:]) * tf.constant([1.0, -1.0]))
    with tf.GradientTape() as tape:
        penalty = gradient_penalty(
            kind, lambda x: tf.reduce_sum(weight * x, axis=-1, keepdims=True), *images, SEED
        )
    assert penalty.numpy() == pytest.approx(4 - 2 * 3**0.5, rel=1e-5)
    # d/dw (‖w‖ - 1)² = 2 (‖w‖ - 1) w / ‖w‖
    expected = 2 * (1 - 3**-0.5) * weight.numpy()
    assert tape.gradient(penalty, weight).numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_norm_is_over_each_images_pixels(kind, images):
    critic = Quadratic()
    penalty = gradient_penalty(kind, critic, *images, SEED)
    norms = np.linalg.norm(critic.points.reshape(SHAPE[0], -1), axis=1)
    assert penalty.numpy() == pytest.approx(np.mean((norms - 1) ** 2), rel=1e-4)


def test_wgan_gp_lies_between_real_and_fake(images):
    real, fake = (image.numpy() for image in images)
    critic = Quadratic()
    gradient_penalty("wgan-gp", critic, real, fake, SEED)
    way = ((critic.points - real) / (fake - real)).reshape(SHAPE[0], -1)
    assert way == pytest.approx(np.broadcast_to(np.median(way, axis=1, keepdims=True), way.shape), abs=1e-2)
    way = np.median(way, axis=1)
    assert -1e-3 < way.min() < 0.05 and 0.95 < way.max() < 1.001
    assert len(np.unique(way)) == SHAPE[0]


def test_dragan_lies_around_the_real_image(images):
    real, fake = (image.numpy() for image in images)
    critic = Quadratic()
    gradient_penalty("dragan", critic, real, fake, SEED)
    # way * 0.5 * std * U with one way for each image and one U for each pixel: up to 0.5 * std, a quarter on average.
    way = (critic.points - real) / (0.5 * real.std())
    assert -1e-4 < way.min() < 0.01 and 0.9 < way.max() < 1.0001
    assert way.mean() == pytest.approx(0.25, abs=0.03)
    largest = way.reshape(SHAPE[0], -1).max(axis=1)
    assert largest.min() < 0.1 < 0.9 < largest.max()
    assert way.std(axis=(1, 2, 3)).min() > 0

    again = Quadratic()
    gradient_penalty("dragan", again, real, -fake, SEED)
    assert np.array_equal(critic.points, again.points)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind, images):
    points = []
    for seed in ([1, 2], [1, 2], [1, 3]):
        critic = Quadratic()
        gradient_penalty(kind, critic, *images, tf.constant(seed))
        points.append(critic.points)
    assert np.array_equal(points[0], points[1])
    assert not np.array_equal(points[0], points[2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_discriminator_has_a_finite_gradient(kind, images):
    weight = tf.Variable(tf.zeros(SHAPE[1:]))
    with tf.GradientTape() as tape:
        penalty = gradient_penalty(kind, lambda x: weight * x, *images, SEED)
    assert penalty.numpy() == pytest.approx(1.0, rel=1e-4)
    assert np.isfinite(tape.gradient(penalty, weight)).all()
