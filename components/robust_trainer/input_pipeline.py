"""Feeds the training steps: a `tf.data` pipeline that gathers each step's examples while the step before runs."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from model_patching.components.robust_trainer.batches import Draw
from model_patching.data.arrays import Arrays
from model_patching.data.untuned import untuned

PARALLEL = 4  # batches that are gathered at once, and that wait ready


class Batch(NamedTuple):
    """Examples of one step on one device, part after part.

    Attributes:
        image: uint8 [n, H, W, C].
        label: int32 [n].
        patched_images: uint8 [n, K, H, W, C], an image's renditions; K is 0 where the records weren't patched.
    """

    image: tf.Tensor
    label: tf.Tensor
    patched_images: tf.Tensor


def training_batches(
    arrays: Arrays,
    draw: Draw,
    seed: int,
    first_step: int,
    last_step: int,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """The batches of the steps `first_step` ... `last_step` - 1, of one device after the other.

    The examples of a step depend on the seed and the step alone, so a training that goes on from a checkpoint sees what
    one sees that never stopped; and they are the same whatever the number of devices, each of which gets an equal share
    of every part.

    Args:
        arrays: the split.
        draw: chooses the examples.
        seed: of the draws.
        first_step: the steps that are done already.
        last_step: where to end.
        context: which of several workers this is; None for the only one, with one device.

    Returns:
        A data set of `Batch`es.
    """
    context = context or tf.distribute.InputContext()
    devices = context.num_replicas_in_sync
    here = devices // context.num_input_pipelines
    first_device = context.input_pipeline_id * here
    height_width_channels = arrays.image.shape[1:]
    renditions = 0 if arrays.patched_images is None else arrays.patched_images.shape[1]

    def gather(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays.image[rows], arrays.patched_images[rows]) if renditions else (arrays.image[rows],)

    # No Python for each group or example: one call takes all rows of a batch.
    def load(number: tf.Tensor) -> Batch:
        step, device = first_step + number // here, first_device + number % here
        parts = draw(tf.stack([tf.constant(seed), step]))
        share = parts.shape[1] // devices
        rows = tf.reshape(tf.gather(tf.reshape(parts, [-1, devices, share]), device, axis=1), [-1])
        found = tf.numpy_function(gather, [rows], [tf.uint8] * (2 if renditions else 1), stateful=False)
        image = tf.ensure_shape(found[0], [rows.shape[0], *height_width_channels])
        patched_shape = [rows.shape[0], renditions, *height_width_channels]
        patched = (
            tf.ensure_shape(found[1], patched_shape) if renditions else tf.zeros(patched_shape, tf.uint8)
        )
        return Batch(image, tf.gather(arrays.label, rows), patched)

    numbers = tf.data.Dataset.range((last_step - first_step) * here, output_type=tf.int32)
    return untuned(numbers.map(load, num_parallel_calls=PARALLEL, deterministic=True).prefetch(PARALLEL))
