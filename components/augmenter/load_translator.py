"""Loads one translator: a Keras SavedModel whose endpoint `serve` maps float32 [n, H, W, C] in [-1, 1] to the same."""

from collections.abc import Callable

import tensorflow as tf


class TranslatorError(ValueError):
    """Translators are missing or don't fit the data set. The message is one line."""


def load_translator(folder: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The endpoint `serve` of a SavedModel.

    Raises:
        TranslatorError: there is none that can be loaded.
    """
    try:
        loaded = tf.saved_model.load(folder)
        _ = loaded.serve
    except (OSError, AttributeError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())
        raise TranslatorError(f"{folder}: not a translator's SavedModel: {reason}") from None
    # Not `loaded.serve` itself: it wouldn't keep the variables alive, which belong to `loaded`.
    return lambda images: loaded.serve(images)
