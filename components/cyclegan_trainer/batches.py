"""Draws the CycleGAN's training batches."""

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

    def __init__(self, arrays: Arrays, dataset: Dataset, subgroup: int):
        """Keeps the images of `subgroup` as one uint8 tensor.

        Raises:
            ValueError: a class has no image in this subgroup.
        """
        groups = [dataset.group_index(label, subgroup) for label in range(dataset.num_classes)]
        for group in groups:
            if arrays.group_count[group] == 0:
                raise ValueError(
                    f"group '{dataset.group_names[group]}' has no example in the training split: "
                    "its translators can't be trained"
                )
        counts = arrays.group_count[groups]
        self.images = tf.constant(
            np.concatenate([arrays.image[arrays.group_slice(group)] for group in groups])
        )
        self.counts = tf.constant(counts, tf.float32)
        self.starts = tf.constant(np.concatenate([[0], np.cumsum(counts)[:-1]]), tf.int32)

    def draw(self, count: int, seed: tf.Tensor) -> tf.Tensor:
        """Draws float32 [count, H, W, C] in [-1, 1]; image i is of class i modulo C.

        Args:
            count: how many.
            seed: int32 [2]; the same seed draws the same images.
        """
        label = tf.range(count) % tf.shape(self.starts)[0]
        uniform = tf.random.stateless_uniform([count], seed)
        within = tf.cast(uniform * tf.gather(self.counts, label), tf.int32)
        return to_float(tf.gather(self.images, tf.gather(self.starts, label) + within))
