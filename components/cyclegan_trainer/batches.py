"""Draws the CycleGAN's training batches."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import to_float


class BalancedImages:
    """The images of one subgroup, drawn evenly over the classes, with replacement.

    Even draws matter: where a class is rare in a subgroup, a proportional draw hardly ever shows it, and the
    translator learns to turn the one class into the other.
    """

    def __init__(self, arrays: Arrays, dataset: Dataset, subgroup: int, labels: Sequence[int]):
        """Keeps the images of `subgroup` in the classes `labels` as one uint8 tensor; each has at least one."""
        groups = [dataset.group_index(label, subgroup) for label in labels]
        counts = arrays.group_count[groups]
        self.images = tf.constant(
            np.concatenate([arrays.image[arrays.group_slice(group)] for group in groups])
        )
        self.counts = tf.constant(counts, tf.float32)
        self.starts = tf.constant(np.concatenate([[0], np.cumsum(counts)[:-1]]), tf.int32)

    def draw(self, count: int, seed: tf.Tensor) -> tf.Tensor:
        """Draws float32 [count, H, W, C] in [-1, 1], of the classes in turn, beginning with a drawn one.

        No class has more than one image more than another, and all are drawn in time where they are more than `count`.

        Args:
            count: how many.
            seed: int32 [2]; the same seed draws the same images.
        """
        first_seed, image_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        classes = tf.shape(self.starts)[0]
        first = tf.random.stateless_uniform([], first_seed, maxval=classes, dtype=tf.int32)
        label = (first + tf.range(count)) % classes
        uniform = tf.random.stateless_uniform([count], image_seed)
        within = tf.cast(uniform * tf.gather(self.counts, label), tf.int32)
        return to_float(tf.gather(self.images, tf.gather(self.starts, label) + within))


def require_groups(arrays: Arrays, dataset: Dataset, labels: Sequence[int], split: str) -> None:
    """Raises ValueError, naming the group, if one of the classes `labels` has no example in a subgroup."""
    for label in labels:
        for subgroup in range(dataset.num_subgroups):
            group = dataset.group_index(label, subgroup)
            if arrays.group_count[group] == 0:
                raise ValueError(
                    f"group '{dataset.group_names[group]}' has no example in the {split} split: "
                    "its translators can't be trained and diagnosed"
                )
