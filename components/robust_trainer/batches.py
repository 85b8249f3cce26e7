"""Draws the classifier's training batches out of arrays that stay on the device."""

from collections.abc import Callable

import tensorflow as tf

from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import to_float

Draw = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]]
"""From a seed, int32 [2], to image float32 [n, H, W, C], label int32 [n], patched float32 [n, K, H, W, C] or None."""


def group_balanced(arrays: Arrays, dataset: Dataset, batch_size: int) -> Draw:
    """Draws `batch_size` examples of every group, with replacement; n = C * K * batch_size, group after group.

    Raises:
        ValueError: a group has no example.
    """
    require_every_group(arrays, dataset, "training")
    counts = tf.constant(arrays.group_count, tf.float32)[:, None]
    starts = tf.constant(arrays.group_start, tf.int32)[:, None]

    def choose(seed: tf.Tensor) -> tf.Tensor:
        uniform = tf.random.stateless_uniform([dataset.num_groups, batch_size], seed)
        return tf.reshape(starts + tf.cast(uniform * counts, tf.int32), [-1])

    return _draw(arrays, choose)


def proportional(arrays: Arrays, batch_size: int) -> Draw:
    """Draws n = `batch_size` examples from the whole split, each with the same probability, with replacement."""
    total = len(arrays.label)

    def choose(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([batch_size], seed, maxval=total, dtype=tf.int32)

    return _draw(arrays, choose)


def require_every_group(arrays: Arrays, dataset: Dataset, split: str) -> None:
    """Raises ValueError, naming the group, if one has no example in this split."""
    for name, count in zip(dataset.group_names, arrays.group_count, strict=True):
        if count == 0:
            raise ValueError(f"group '{name}' has no example in the {split} split")


def _draw(arrays: Arrays, choose: Callable[[tf.Tensor], tf.Tensor]) -> Draw:
    images = tf.constant(arrays.image)
    labels = tf.constant(arrays.label)
    patched_images = None if arrays.patched_images is None else tf.constant(arrays.patched_images)

    def draw(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        index = choose(seed)
        patched = None if patched_images is None else to_float(tf.gather(patched_images, index))
        return to_float(tf.gather(images, index)), tf.gather(labels, index), patched

    return draw
