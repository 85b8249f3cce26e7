"""The sample sheet: source, rendition, cycled back, for a fixed set of images."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from model_patching.components.cyclegan_trainer.translate import translate
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import to_float, to_uint8

WIDEST = 1024  # pixels
MOST_COLUMNS = 16
SEPARATOR = 4


def sheet_images(arrays: Arrays, dataset: Dataset, subgroup: int, labels: Sequence[int]) -> tf.Tensor:
    """The first images of a subgroup, class after class in turn; float32 [n, H, W, C] in [-1, 1].

    n is 16 at most, and less where 16 images would be wider than a page; each class has at least one.
    """
    columns = min(MOST_COLUMNS, WIDEST // dataset.image_shape[1])
    per_class = max(1, columns // len(labels))
    groups = [dataset.group_index(label, subgroup) for label in labels]
    images = [arrays.image[arrays.group_slice(group)][:per_class] for group in groups]
    return to_float(tf.constant(np.concatenate(images)))


def draw_sheet(
    forward: keras.Model, backward: keras.Model, source: tf.Tensor, target: tf.Tensor
) -> np.ndarray:
    """Draws two blocks of three rows: source → in the target subgroup → back, and the same the other way.

    Args:
        forward: generator source → target.
        backward: generator target → source.
        source: float32 [n, H, W, C] in [-1, 1], images of the source subgroup.
        target: float32 [m, H, W, C] in [-1, 1], images of the target subgroup.

    Returns:
        uint8 [rows, columns, C]; the rows of the two blocks are parted by a grey line.
    """
    blocks = []
    for images, there, back in ((source, forward, backward), (target, backward, forward)):
        rendition = translate(there, images)
        cycled = translate(back, rendition)
        rows = [np.concatenate(list(to_uint8(row).numpy()), axis=1) for row in (images, rendition, cycled)]
        blocks.append(np.concatenate(rows, axis=0))
    width = max(block.shape[1] for block in blocks)
    padded = [np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0))) for block in blocks]
    line = np.full((SEPARATOR, width, padded[0].shape[2]), 128, np.uint8)
    return np.concatenate([padded[0], line, padded[1]], axis=0)
