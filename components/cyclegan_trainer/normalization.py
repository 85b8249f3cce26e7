"""The normalization of the CycleGAN's networks: over each image (instance) or over the batch."""

import keras
from keras import layers

from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings


def normalize(x: keras.KerasTensor, settings: CycleGANTrainerSettings) -> keras.KerasTensor:
    """Normalizes a network's float [n, h, w, c] as the settings `norm` and `translate_with` say.

    Instance normalization (Ulyanov et al. 2016, arXiv:1607.08022) is group normalization with one channel a group. At
    1×1, where the mean is all there is and would go, it does nothing.
    """
    if settings.norm == "batchnorm":
        return BatchNormalization(settings.batch_size, settings.translate_with)(x)
    if x.shape[1] * x.shape[2] == 1:
        return x
    return layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)


class BatchNormalization(layers.BatchNormalization):
    """Batch normalization (Ioffe and Szegedy 2015) of several batches in one call, and of translations.

    While training, each `batch_size` images in a row are a batch and normalized by themselves, as if each had its own
    call (Hoffer et al. 2017, arXiv:1705.08741, "virtual batch size"): the convolutions are faster on all of them at
    once. The moving averages take in the mean of the batches' moments.

    With training=False and `translate_with` "batch_statistics" all images are one batch, normalized by its own moments,
    and no variable changes; with "moving_averages" it is Keras's layer.
    """

    def __init__(self, batch_size: int, translate_with: str, **kwargs):
        super().__init__(**kwargs)
        self.batch_size = batch_size
        self.translate_with = translate_with

    def call(self, inputs, training=None, mask=None):
        """Normalizes float [n, h, w, c]; the same shape and type. While training n is a multiple of `batch_size`."""
        if not training and self.translate_with == "moving_averages":
            return super().call(inputs, training=False)
        height, width, channels = inputs.shape[1:]
        batches = (-1, self.batch_size * height * width, channels) if training else (1, -1, channels)
        x = keras.ops.reshape(keras.ops.cast(inputs, "float32"), batches)
        mean, variance = keras.ops.moments(x, axes=1, keepdims=True)
        if training:
            for average, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                now = keras.ops.mean(now, axis=(0, 1))
                average.assign(average * self.momentum + now * (1.0 - self.momentum))
        scale = self.gamma * keras.ops.rsqrt(variance + self.epsilon)
        x = x * scale + (self.beta - mean * scale)
        return keras.ops.cast(keras.ops.reshape(x, keras.ops.shape(inputs)), self.compute_dtype)

    def get_config(self):
        """For Keras's serialization."""
        return super().get_config() | {
            "batch_size": self.batch_size,
            "translate_with": self.translate_with,
        }
