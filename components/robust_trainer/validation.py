"""Scores a classifier on the groups of a split."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from model_patching.components.evaluator.group_metrics import GroupMetrics, group_metrics
from model_patching.components.robust_trainer.replicas import agreed
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import to_float

PIXELS = 500 * 28 * 28  # of the images that are classified together: 500 digits, 7 photographs of 224 × 224


class Scorer:
    """Scores one model on one split, again and again."""

    def __init__(
        self,
        model: keras.Model,
        arrays: Arrays,
        dataset: Dataset,
        train_count: np.ndarray,
        strategy: tf.distribute.Strategy,
    ):
        """Prepares the scoring.

        Args:
            model: float32 [n, H, W, C] in [-1, 1] → logits [n, C].
            arrays: the split.
            dataset: its groups.
            train_count: int [C, K], the weights of the average accuracy.
            strategy: whose workers all score, and agree on the result.
        """
        self._shape = (dataset.num_classes, dataset.num_subgroups)
        self._count = arrays.group_count.reshape(self._shape)
        self._train_count = train_count
        self._group = np.repeat(np.arange(dataset.num_groups), arrays.group_count)
        self._label = arrays.label
        self._strategy = strategy
        self._logits = for_each_batch(model, arrays)

    def score(self) -> GroupMetrics:
        """Metrics of the model as it is now."""
        correct = np.argmax(self._logits(), axis=1) == self._label
        counts = np.bincount(self._group, weights=correct, minlength=self._count.size)
        counts = agreed(counts, self._strategy)
        return group_metrics(counts.reshape(self._shape), self._count, self._train_count)


def for_each_batch(model: keras.Model, arrays: Arrays) -> Callable[[], np.ndarray]:
    """A function that puts a split's images through a model as it is then.

    Args:
        model: float32 [n, H, W, C] in [-1, 1] → float32 [n, F].
        arrays: the split.

    Returns:
        Of no arguments, returns float32 [N, F].
    """
    total, height, width, channels = arrays.image.shape
    batch = max(1, PIXELS // (height * width))

    # One graph for all batches but the last: retracing costs more than predicting.
    @tf.function(input_signature=[tf.TensorSpec([None, height, width, channels], tf.uint8)])
    def predict(images: tf.Tensor) -> tf.Tensor:
        return model(to_float(images), training=False)

    return lambda: np.concatenate(
        [
            predict(tf.constant(arrays.image[start : start + batch])).numpy()
            for start in range(0, total, batch)
        ]
    )
