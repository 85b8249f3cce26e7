"""Which examples a training batch has: draws that depend on the seed and the step alone."""

from collections.abc import Callable

import tensorflow as tf

from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset

Draw = Callable[[tf.Tensor], tf.Tensor]
"""From a seed, int32 [2], to rows of the arrays, int32 [parts, rows of each]; see the functions."""


def group_balanced(arrays: Arrays, dataset: Dataset, batch_size: int) -> Draw:
    """Draws `batch_size` examples of every group, with replacement; a part for each group.

    Raises:
        ValueError: a group has no example.
    """
    require_every_group(arrays, dataset, "training")
    counts = tf.constant(arrays.group_count, tf.float32)[:, None]
    starts = tf.constant(arrays.group_start, tf.int32)[:, None]

    def draw(seed: tf.Tensor) -> tf.Tensor:
        uniform = tf.random.stateless_uniform([dataset.num_groups, batch_size], seed)
        return starts + tf.cast(uniform * counts, tf.int32)

    return draw


def proportional(arrays: Arrays, batch_size: int) -> Draw:
    """Draws `batch_size` examples from the whole split, each with the same probability, with replacement; one part."""
    total = len(arrays.label)

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([1, batch_size], seed, maxval=total, dtype=tf.int32)

    return draw


def require_every_group(arrays: Arrays, dataset: Dataset, split: str) -> None:
    """Raises ValueError, naming the group, if one has no example in this split."""
    for name, count in zip(dataset.group_names, arrays.group_count, strict=True):
        if count == 0:
            raise ValueError(f"group '{name}' has no example in the {split} split")
