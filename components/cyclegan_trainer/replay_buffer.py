"""The buffer of past translations that a discriminator learns from.

Source: Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images through Adversarial Training",
section 2.3: a history of fakes keeps the discriminator from forgetting.
"""

import tensorflow as tf


class ReplayBuffer:
    """Holds up to `size` translated images; with size 0 it gives back what it gets.

    While it fills, each query stores its images and gives them back. Once it is full, each image of a query is
    given back itself with probability one half, and otherwise changes places with one of the buffer's.

    Attributes:
        variables: what it holds: the images, float32 [size, H, W, C], and how many there are; none for size 0.
    """

    def __init__(self, size: int, image_shape: tuple[int, int, int]):
        self.variables = []
        if size > 0:
            self.images = tf.Variable(tf.zeros((size, *image_shape)), trainable=False)
            self.filled = tf.Variable(0, trainable=False)
            self.variables = [self.images, self.filled]

    def query(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Stores some of `images` and returns as many, new and old.

        Args:
            images: float32 [n, H, W, C], n not above the buffer's size.
            seed: int32 [2]; the same seed chooses the same images.

        Returns:
            float32 [n, H, W, C].
        """
        if not self.variables:
            return images
        count = tf.shape(images)[0]
        size = tf.shape(self.images)[0]
        # Slots for this query: the next free ones while there are any, then random ones, all different.
        order = tf.argsort(tf.random.stateless_uniform([size], seed))
        free = tf.range(size) >= self.filled
        slots = tf.argsort(tf.where(free, tf.range(size), size + order))[:count]

        stored = tf.gather(self.images, slots)
        is_free = tf.gather(free, slots)
        swap = tf.random.stateless_uniform([count], seed + 1) < 0.5
        keep_new = tf.logical_or(is_free, swap)[:, None, None, None]
        give_old = tf.logical_and(tf.logical_not(is_free), swap)[:, None, None, None]

        returned = tf.where(give_old, stored, images)
        self.images.scatter_nd_update(slots[:, None], tf.where(keep_new, images, stored))
        self.filled.assign(tf.minimum(size, self.filled + count))
        return returned
