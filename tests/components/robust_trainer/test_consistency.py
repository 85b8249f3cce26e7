import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import entropy

from model_patching.components.robust_trainer.consistency import PENALTIES, camel, kl_divergence


def logs(*distributions):
    return tf.constant(np.log(distributions), tf.float32)


def test_kl_divergence_by_hand():
    # 0.9 ln(0.9 / 0.5) + 0.1 ln(0.1 / 0.5) = 0.9 * 0.587787 - 0.1 * 1.609438
    assert kl_divergence(logs(0.9, 0.1), logs(0.5, 0.5)).numpy() == pytest.approx(0.368064, abs=1e-6)


def test_by_hand():
    # p = (.5, .5), p1 = (.9, .1), p2 = (.5, .5), so m = (.7, .3).
    # KL(p || m) = KL(p2 || m) = .5 ln(5/7) + .5 ln(5/3) = -.168236 + .255413 = .087177
    # KL(p1 || m) = .9 ln(9/7) + .1 ln(1/3) = .226183 - .109861 = .116322
    # 1/2 * .087177 + 1/4 * .116322 + 1/4 * .087177 = .043588 + .029080 + .021794 = .094463
    penalty = camel(logs((0.5, 0.5)), logs((0.9, 0.1), (0.5, 0.5))[None])
    assert penalty.shape == (1,)
    assert penalty.numpy()[0] == pytest.approx(0.094463, abs=2e-6)


def test_the_image_weighs_as_much_as_its_renditions_together():
    # p apart, p1 = p2 = m: only KL(p || m) / 2 is left; with p = (.9, .1), m = (.5, .5) that is .368064 / 2.
    apart = camel(logs((0.9, 0.1)), logs((0.5, 0.5), (0.5, 0.5))[None])
    assert apart.numpy()[0] == pytest.approx(0.184032, abs=1e-6)


def test_is_the_published_formula_for_two_subgroups():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (7, 5))
    patched = generator.normal(0, 3, (7, 2, 5))
    p, p1, p2 = softmax(logits, -1), softmax(patched[:, 0], -1), softmax(patched[:, 1], -1)
    m = (p1 + p2) / 2
    expected = 0.5 * entropy(p, m, axis=-1) + 0.25 * entropy(p1, m, axis=-1) + 0.25 * entropy(p2, m, axis=-1)
    assert camel_of(logits, patched) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_is_the_general_formula_for_three_subgroups():
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 3, (6, 4))
    patched = generator.normal(0, 3, (6, 3, 4))
    p, pk = softmax(logits, -1), softmax(patched, -1)
    m = pk.mean(axis=1)
    expected = 0.5 * rel_entr(p, m).sum(-1) + 0.5 * rel_entr(pk, m[:, None]).sum(-1).mean(1)
    assert camel_of(logits, patched) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def published(name, p, p1, p2):
    """The published formulas, for two subgroups, with scipy's divergence."""

    def kl(first, second):
        return entropy(first, second, axis=-1)

    if name == "camel":
        m = (p1 + p2) / 2
        return kl(p, m) / 2 + kl(p1, m) / 4 + kl(p2, m) / 4
    if name == "triplet_js":
        m = (p + p1 + p2) / 3
        return (kl(p, m) + kl(p1, m) + kl(p2, m)) / 3
    if name == "kl":
        return (kl(p, p1) + kl(p, p2)) / 2
    return (kl(p1, p) + kl(p2, p)) / 2


@pytest.mark.parametrize("name", PENALTIES)
def test_every_penalty_is_the_published_one(name):
    generator = np.random.default_rng(3)
    logits, patched = generator.normal(0, 3, (7, 5)), generator.normal(0, 3, (7, 2, 5))
    p, p1, p2 = (softmax(values, -1) for values in (logits, patched[:, 0], patched[:, 1]))
    found = PENALTIES[name](
        *(tf.constant(log_softmax(values, -1), tf.float32) for values in (logits, patched))
    )
    assert found.numpy() == pytest.approx(published(name, p, p1, p2), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    "name", ["camel", "kl", "reverse_kl"]
)  # in triplet_js each prediction weighs the same
def test_three_equal_renditions_count_as_two(name):
    generator = np.random.default_rng(4)
    image = tf.nn.log_softmax(generator.normal(0, 2, (6, 4)).astype(np.float32))
    rendition = tf.nn.log_softmax(generator.normal(0, 2, (6, 1, 4)).astype(np.float32))
    two, three = (PENALTIES[name](image, tf.repeat(rendition, count, axis=1)) for count in (2, 3))
    assert two.numpy() == pytest.approx(three.numpy(), rel=1e-4)


def test_is_zero_where_all_agree():
    logits = np.random.default_rng(2).normal(0, 3, (5, 4))
    for renditions in (2, 3):
        assert camel_of(logits, np.repeat(logits[:, None], renditions, 1)) == pytest.approx(0, abs=1e-6)


def test_stays_finite_at_probabilities_of_zero_and_one():
    # The first: the image says class 0, the renditions class 1. KL(p || m) = 1 * (0 - log m_0) = 2000, halved.
    # The second: the renditions contradict each other, m = (.5, .5): each of the three divergences is ln 2.
    logits = tf.constant([[1000.0, -1000.0], [1000.0, -1000.0]])
    patched = tf.constant([[[-1000.0, 1000.0], [-1000.0, 1000.0]], [[1000.0, -1000.0], [-1000.0, 1000.0]]])
    with tf.GradientTape() as tape:
        tape.watch([logits, patched])
        penalty = camel(tf.nn.log_softmax(logits), tf.nn.log_softmax(patched))
    assert penalty.numpy() == pytest.approx([1000.0, np.log(2)], rel=1e-5)
    for gradient in tape.gradient(penalty, [logits, patched]):
        assert np.isfinite(gradient).all()


def camel_of(logits, patched):
    return camel(
        tf.constant(log_softmax(logits, -1), tf.float32), tf.constant(log_softmax(patched, -1), tf.float32)
    ).numpy()
