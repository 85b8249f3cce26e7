import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.robust_trainer import validation
from model_patching.components.robust_trainer.validation import Scorer

COUNTS = [[3, 1, 2], [1, 2, 4]]  # examples 0-2, 3, 4-5 of class 0; 6, 7-8, 9-12 of class 1


class Says1From:
    """A classifier that says class 1 to every image of this pixel value or brighter."""

    def __init__(self, threshold):
        self.threshold = tf.Variable(threshold / 127.5 - 1.0)

    def __call__(self, images, training):
        assert training is False
        brighter = images[:, 0, 0, 0] - self.threshold + 1e-3
        return tf.stack([tf.zeros_like(brighter), brighter], axis=1)


@pytest.mark.parametrize("batch", [500, 4])
def test_scores_by_hand_and_follow_the_model(make_arrays, make_dataset, monkeypatch, batch):
    monkeypatch.setattr(validation, "PIXELS", batch * 4)
    model = Says1From(5)
    train_count = np.array([[10, 0, 20], [30, 40, 0]])
    dataset, strategy = make_dataset(2, 3, (2, 2, 1)), tf.distribute.get_strategy()
    scorer = Scorer(model, make_arrays(COUNTS), dataset, train_count, strategy)

    # From 5 on is 1: of class 0 only example 5 is wrong.
    scores = scorer.score()
    assert scores.accuracy.tolist() == [[1.0, 1.0, 0.5], [1.0, 1.0, 1.0]]
    assert (scores.worst_group_accuracy, scores.worst_group) == (0.5, (0, 2))
    # (10 * 1 + 20 * .5 + 30 * 1 + 40 * 1) / 100
    assert scores.average_accuracy == pytest.approx(0.9)

    # From 11 on is 1: of class 1 only 11 and 12 are right.
    model.threshold.assign(11 / 127.5 - 1.0)
    scores = scorer.score()
    assert scores.accuracy.tolist() == [[1.0, 1.0, 1.0], [0.0, 0.0, 0.5]]
    assert scores.average_accuracy == pytest.approx(0.3)
