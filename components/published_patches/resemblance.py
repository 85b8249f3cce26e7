"""How much images look like each other: the only check that patched images lie in the order of their sources."""

import numpy as np
import tensorflow as tf

SIDE = 32  # pixels: the coarse look, which a translator leaves as it is


def thumbnail(image: tf.Tensor) -> np.ndarray:
    """A small grey version of an image, uint8 [H, W, C]; float32 [SIDE * SIDE]."""
    grey = tf.reduce_mean(tf.cast(image, tf.float32), axis=-1, keepdims=True)
    return tf.image.resize(grey, (SIDE, SIDE), method="area").numpy().reshape(-1)


def resembling(images: np.ndarray, patched: np.ndarray) -> np.ndarray:
    """Which images resemble their own patched image more than any other one's.

    Args:
        images: thumbnails, float32 [n, d].
        patched: those of the patched image of each, float32 [n, d].

    Returns:
        bool [n].
    """
    correlation = _normalize(images) @ _normalize(patched).T
    own = np.diagonal(correlation).copy()
    np.fill_diagonal(correlation, -np.inf)
    return own > correlation.max(axis=1, initial=-np.inf)


def _normalize(thumbnails: np.ndarray) -> np.ndarray:
    """Mean 0 and length 1 for each; first what all have in common is taken off, a mark that every patched one has."""
    thumbnails = thumbnails - thumbnails.mean(axis=0)
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(thumbnails, axis=1, keepdims=True)
    return np.divide(thumbnails, lengths, out=np.zeros_like(thumbnails), where=lengths > 0)
