"""Scores a classifier on the groups of a split."""

import keras
import numpy as np
import tensorflow as tf

from model_patching.components.evaluator.group_metrics import GroupMetrics, group_metrics
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import to_float

BATCH = 500


class Scorer:
    """Scores one model on one split, again and again; the split stays on the device."""

    def __init__(self, model: keras.Model, arrays: Arrays, dataset: Dataset, train_count: np.ndarray):
        """Prepares the scoring.

        Args:
            model: float32 [n, H, W, C] in [-1, 1] → logits [n, C].
            arrays: the split.
            dataset: its groups.
            train_count: int [C, K], the weights of the average accuracy.
        """
        self._shape = (dataset.num_classes, dataset.num_subgroups)
        self._count = arrays.group_count.reshape(self._shape)
        self._train_count = train_count
        self._group = np.repeat(np.arange(dataset.num_groups), arrays.group_count)
        self._label = arrays.label
        self._images = tf.constant(arrays.image)

        # One graph for all batches but the last: retracing costs more than predicting.
        @tf.function(input_signature=[tf.TensorSpec([None, *dataset.image_shape], tf.uint8)])
        def predict(images: tf.Tensor) -> tf.Tensor:
            return tf.argmax(model(to_float(images), training=False), axis=-1, output_type=tf.int32)

        self._predict = predict

    def score(self) -> GroupMetrics:
        """Metrics of the model as it is now."""
        total = len(self._label)
        predicted = np.concatenate(
            [self._predict(self._images[start : start + BATCH]).numpy() for start in range(0, total, BATCH)]
        )
        correct = np.bincount(self._group, weights=predicted == self._label, minlength=self._count.size)
        return group_metrics(correct.reshape(self._shape), self._count, self._train_count)
