import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, rel_entr, softmax

from model_patching.components.robust_trainer.objective import Objective, cross_entropy
from model_patching.components.robust_trainer.settings import RobustTrainerSettings

CLASSES, SUBGROUPS, BATCH = 2, 3, 4
COUNT = np.array([[10, 200, 30], [40, 5, 60]])
LABEL = np.repeat([0, 1], SUBGROUPS * BATCH).astype(np.int32)
VARIABLES = [keras.Variable([1.0, -2.0]), keras.Variable([[3.0]])]
STEP = tf.constant(0)
DECAY = 0.01 * 0.5 * (1 + 4 + 9)


def settings(method, **changes):
    if method in ("group_dro", "camel"):
        changes["group_dro_step"] = 0.3
    return RobustTrainerSettings(method=method, weight_decay=0.01, **changes)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 2, (len(LABEL), CLASSES)).astype(np.float32)


@pytest.fixture
def patched_logits():
    return np.random.default_rng(1).normal(0, 2, (len(LABEL), SUBGROUPS, CLASSES)).astype(np.float32)


def losses_of(logits):
    """-log p(label), from numpy: [n, ...] for logits [n, ..., C]."""
    logs = log_softmax(logits, axis=-1)
    return -np.stack([logs[i, ..., label] for i, label in enumerate(LABEL)])


def group_dro_of(example_loss, per_class):
    """The loss after one step from equal weights."""
    adjusted = example_loss.reshape(CLASSES, SUBGROUPS, BATCH).mean(axis=2) + 1.0 / np.sqrt(COUNT)
    weight = np.exp(0.3 * adjusted)
    weight /= weight.sum(axis=1, keepdims=True) * CLASSES if per_class else weight.sum()
    return (weight * adjusted).sum()


def camel_of(logits, patched_logits):
    """The mean over each group's examples, summed over the groups."""
    p, pk = softmax(logits, -1), softmax(patched_logits, -1)
    m = pk.mean(axis=1)
    penalty = 0.5 * rel_entr(p, m).sum(-1) + 0.5 * rel_entr(pk, m[:, None]).sum(-1).mean(axis=1)
    return penalty.reshape(CLASSES * SUBGROUPS, BATCH).mean(axis=1).sum()


def test_cross_entropy_by_hand():
    logs = tf.math.log([[0.2, 0.8], [0.5, 0.5]])
    # -ln .8 and -ln .5
    assert cross_entropy(logs, tf.constant([1, 0])).numpy() == pytest.approx([0.223144, 0.693147], abs=1e-6)
    # One label for all renditions of an image: -ln .2, -ln .5
    assert cross_entropy(logs[None], tf.constant([[0]])).numpy() == pytest.approx(
        np.array([[1.609438, 0.693147]]), abs=1e-6
    )


@pytest.mark.parametrize("method", ["erm", "balanced_erm", "dfr"])
def test_the_mean(logits, method):
    terms = Objective(settings(method=method), COUNT)(
        tf.constant(logits), None, tf.constant(LABEL), VARIABLES, STEP
    )
    main = losses_of(logits).mean()
    assert set(terms) == {"loss", "main_loss", "weight_decay"}
    assert terms["main_loss"].numpy() == pytest.approx(main, rel=1e-5)
    assert terms["weight_decay"].numpy() == pytest.approx(DECAY)
    assert terms["loss"].numpy() == pytest.approx(main + DECAY, rel=1e-5)


@pytest.mark.parametrize("per_class", [True, False])
def test_group_dro(logits, per_class):
    objective = Objective(settings(method="group_dro", group_dro_per_class=per_class), COUNT)
    terms = objective(tf.constant(logits), None, tf.constant(LABEL), VARIABLES, STEP)
    main = group_dro_of(losses_of(logits), per_class)
    assert set(terms) == {"loss", "main_loss", "weight_decay"}
    assert terms["main_loss"].numpy() == pytest.approx(main, rel=1e-5)
    assert terms["loss"].numpy() == pytest.approx(main + DECAY, rel=1e-5)


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("augmentation_training", ["original", "augmented", "both"])
def test_camel(logits, patched_logits, augmentation_training, per_class):
    objective = Objective(
        settings(
            method="camel",
            consistency_weight=7.0,
            augmentation_training=augmentation_training,
            group_dro_per_class=per_class,
        ),
        COUNT,
    )
    terms = objective(tf.constant(logits), tf.constant(patched_logits), tf.constant(LABEL), VARIABLES, STEP)
    example_loss = losses_of(logits)
    if augmentation_training == "both":  # the mean over the image and its K renditions
        example_loss = (example_loss + losses_of(patched_logits).sum(axis=1)) / (1 + SUBGROUPS)
    if augmentation_training == "augmented":
        example_loss = losses_of(patched_logits).mean(axis=1)
    main = group_dro_of(example_loss, per_class)
    consistency = camel_of(logits, patched_logits)
    assert set(terms) == {"loss", "main_loss", "consistency", "weight_decay"}
    assert terms["main_loss"].numpy() == pytest.approx(main, rel=1e-5)
    assert terms["consistency"].numpy() == pytest.approx(consistency, rel=1e-4)
    assert terms["loss"].numpy() == pytest.approx(main + 7.0 * consistency + DECAY, rel=1e-4)


def test_a_second_batch_meets_the_moved_weights(logits):
    objective = Objective(settings(method="group_dro"), COUNT)
    first, second = (
        objective(tf.constant(logits), None, tf.constant(LABEL), VARIABLES, STEP)["main_loss"]
        for _ in range(2)
    )
    assert second > first


def test_only_the_robust_methods_keep_group_weights():
    assert Objective(settings(method="erm"), COUNT).group_dro is None
    assert Objective(settings(method="camel"), COUNT).group_dro is not None


@pytest.mark.parametrize("step, weight", [(0, 0.0), (99, 0.0), (100, 8.0), (5000, 8.0)])
def test_irm(logits, step, weight):
    objective = Objective(settings("irm", irm_penalty_weight=8.0), COUNT)
    terms = objective(tf.constant(logits), None, tf.constant(LABEL), VARIABLES, tf.constant(step))
    main = losses_of(logits).mean()
    residual = softmax(logits, -1) - np.eye(CLASSES)[LABEL]
    penalty = ((residual * logits).sum(-1).reshape(-1, BATCH).mean(axis=1) ** 2).mean()
    assert terms["irm"].numpy() == pytest.approx(penalty, rel=1e-5)
    assert terms["loss"].numpy() == pytest.approx(main + weight * penalty + DECAY, rel=1e-5)


@pytest.mark.parametrize("method", ["erm", "irm", "group_dro"])
def test_a_consistency_penalty_on_another_method(logits, patched_logits, method):
    objective = Objective(settings(method, consistency="kl", consistency_weight=2.0), COUNT)
    plain = Objective(settings(method), COUNT)
    arguments = tf.constant(LABEL), VARIABLES, STEP
    terms = objective(tf.constant(logits), tf.constant(patched_logits), *arguments)
    p, pk = softmax(logits, -1), softmax(patched_logits, -1)
    penalty = rel_entr(p[:, None], pk).sum(-1).mean() * CLASSES * SUBGROUPS
    assert terms["consistency"].numpy() == pytest.approx(penalty, rel=1e-4)
    without = float(plain(tf.constant(logits), None, *arguments)["loss"])
    assert terms["loss"].numpy() == pytest.approx(without + 2 * penalty, rel=1e-4)
