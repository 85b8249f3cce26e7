"""Input pipelines that TensorFlow doesn't tune."""

import tensorflow as tf


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same data set without TensorFlow's tuning, which may sleep for up to a minute: the end would wait for it."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
