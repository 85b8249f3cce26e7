import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.robust_trainer.group_dro import GroupDRO

# With an adjustment of 1 the penalties 1 / sqrt(n) are .5, .25, .2 and .1.
COUNT = np.array([[4, 16], [25, 100]])
FIRST = tf.constant([[1.0, 2.0], [3.0, 4.0]])  # adjusted: 1.5, 2.25, 3.2, 4.1
SECOND = tf.constant([[2.0, 1.0], [0.0, 0.0]])  # adjusted: 2.5, 1.25, .2, .1


def test_starts_with_equal_weights():
    for per_class in (True, False):
        assert GroupDRO(COUNT, 0.1, 1.0, per_class).weights().numpy() == pytest.approx(np.full((2, 2), 0.25))


def test_two_steps_per_class():
    dro = GroupDRO(COUNT, step=0.1, adjustment=1.0, per_class=True)
    # q = ((.15, .225), (.32, .41)). Within class 0: 1 / (1 + e^.075) = .481259 and .518741, within class 1:
    # 1 / (1 + e^.09) = .477515 and .522485; each class weighs one half.
    loss = dro.loss(FIRST)
    assert dro.log_weights.numpy() == pytest.approx(np.array([[0.15, 0.225], [0.32, 0.41]]))
    assert 2 * dro.weights().numpy() == pytest.approx(
        np.array([[0.481259, 0.518741], [0.477515, 0.522485]]), abs=1e-6
    )
    # .5 * (.481259 * 1.5 + .518741 * 2.25) + .5 * (.477515 * 3.2 + .522485 * 4.1) = .944528 + 1.835118
    assert loss.numpy() == pytest.approx(2.779646, abs=2e-6)

    # q = ((.40, .35), (.34, .42)). Class 0: 1 / (1 + e^-.05) = .512497 and .487503; class 1: 1 / (1 + e^.08) = .480011
    # and .519989.
    loss = dro.loss(SECOND)
    assert dro.log_weights.numpy() == pytest.approx(np.array([[0.4, 0.35], [0.34, 0.42]]))
    # .5 * (.512497 * 2.5 + .487503 * 1.25) + .5 * (.480011 * .2 + .519989 * .1) = .945311 + .074001
    assert loss.numpy() == pytest.approx(1.019311, abs=2e-6)


def test_two_steps_over_all_groups():
    dro = GroupDRO(COUNT, step=0.1, adjustment=1.0, per_class=False)
    # e^.15, e^.225, e^.32, e^.41 = 1.161834, 1.252323, 1.377128, 1.506818; their sum is 5.298103.
    loss = dro.loss(FIRST)
    assert dro.weights().numpy() == pytest.approx(
        np.array([[0.219292, 0.236372], [0.259928, 0.284407]]), abs=1e-6
    )
    # .219292 * 1.5 + .236372 * 2.25 + .259928 * 3.2 + .284407 * 4.1
    assert loss.numpy() == pytest.approx(2.858616, abs=4e-6)

    # e^.40, e^.35, e^.34, e^.42 = 1.491825, 1.419068, 1.404948, 1.521962; their sum is 5.837802.
    loss = dro.loss(SECOND)
    assert dro.weights().numpy() == pytest.approx(
        np.array([[0.255546, 0.243083], [0.240664, 0.260708]]), abs=1e-6
    )
    # .255546 * 2.5 + .243083 * 1.25 + .240664 * .2 + .260708 * .1
    assert loss.numpy() == pytest.approx(1.016921, abs=4e-6)


def test_every_class_weighs_the_same_however_many_examples_it_has():
    # Of 1040 examples class 0 has 1010. Its share of the groups is still one half, as published.
    weights = GroupDRO(np.array([[1000, 10], [10, 20]]), 0.1, 0.0, per_class=True).weights().numpy()
    assert weights.sum(axis=1) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("adjustment, expected", [(0.0, 0.0), (2.0, 2 * (0.5 + 0.25 + 0.2 + 0.1) / 4)])
def test_adjustment_alone(adjustment, expected):
    # No step, no loss: the mean of adjustment / sqrt(n).
    dro = GroupDRO(COUNT, step=0.0, adjustment=adjustment, per_class=False)
    assert dro.loss(tf.zeros((2, 2))).numpy() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
@pytest.mark.parametrize("per_class", [True, False])
def test_other_shapes_and_the_gradient(shape, per_class):
    generator = np.random.default_rng(0)
    count = generator.integers(1, 50, shape)
    loss = generator.uniform(0, 3, shape).astype(np.float32)
    dro = GroupDRO(count, step=0.7, adjustment=1.5, per_class=per_class)
    group_loss = tf.constant(loss)
    with tf.GradientTape() as tape:
        tape.watch(group_loss)
        total = dro.loss(group_loss)

    adjusted = loss + 1.5 / np.sqrt(count)
    weight = np.exp(0.7 * adjusted)
    weight /= weight.sum(axis=1, keepdims=True) * shape[0] if per_class else weight.sum()
    assert total.numpy() == pytest.approx((weight * adjusted).sum(), rel=1e-5)
    # The weights are constants to the model: the gradient is just them, without a term for how they follow the loss.
    assert tape.gradient(total, group_loss).numpy() == pytest.approx(weight, rel=1e-5)


def test_moves_inside_a_graph_too():
    dro = GroupDRO(COUNT, step=0.1, adjustment=1.0, per_class=True)
    step = tf.function(dro.loss)
    step(FIRST)
    assert step(SECOND).numpy() == pytest.approx(1.019311, abs=2e-6)
