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


def sheet_images(
    arrays: Arrays, dataset: Dataset, subgroup: int, labels: Sequence[int], batch_size: int
) -> list[tf.Tensor]:
    """The first `batch_size` images of each class of a subgroup, at most; float32 [n, H, W, C] in [-1, 1] each."""
    groups = [dataset.group_index(label, subgroup) for label in labels]
    return [to_float(tf.constant(arrays.image[arrays.group_slice(group)][:batch_size])) for group in groups]


def draw_sheet(
    forward: keras.Model, backward: keras.Model, source: Sequence[tf.Tensor], target: Sequence[tf.Tensor]
) -> np.ndarray:
    """Draws two blocks of three rows: source → in the target subgroup → back, and the same the other way.

    The images of a class go through the generators together and apart from those of the others, as in the Augmenter,
    and the first of them are drawn: of all classes together 16 columns, or less where these would be wider than a page,
    but at least one of each class.

    Args:
        forward: generator source → target.
        backward: generator target → source.
        source: images of the source subgroup, for each class float32 [n, H, W, C] in [-1, 1].
        target: images of the target subgroup, likewise.

    Returns:
        uint8 [rows, columns, C]; the rows of the two blocks are parted by a grey line.
    """
    columns = min(MOST_COLUMNS, WIDEST // source[0].shape[2])
    per_class = max(1, columns // len(source))
    blocks = []
    for classes, there, back in ((source, forward, backward), (target, backward, forward)):
        parts = []
        for images in classes:
            rendition = translate(there, images)
            cycled = translate(back, rendition)
            shown = [to_uint8(row[:per_class]).numpy() for row in (images, rendition, cycled)]
            parts.append(np.concatenate([np.concatenate(list(row), axis=1) for row in shown], axis=0))
        blocks.append(np.concatenate(parts, axis=1))
    width = max(block.shape[1] for block in blocks)
    padded = [np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0))) for block in blocks]
    line = np.full((SEPARATOR, width, padded[0].shape[2]), 128, np.uint8)
    return np.concatenate([padded[0], line, padded[1]], axis=0)
