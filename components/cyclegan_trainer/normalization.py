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
        return BatchNormalization(settings.translate_with)(x)
    if x.shape[1] * x.shape[2] == 1:
        return x
    return layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)


class BatchNormalization(layers.BatchNormalization):
    """Batch normalization (Ioffe and Szegedy 2015) that can go on with the batch's moments once it is trained.

    With `translate_with` "batch_statistics", a call with training=False normalizes by the batch's own mean and variance
    as training does, but changes no variable. With "moving_averages" it is Keras's layer.
    """

    def __init__(self, translate_with: str, **kwargs):
        super().__init__(**kwargs)
        self.translate_with = translate_with

    def call(self, inputs, training=None, mask=None):
        """Normalizes float [n, ..., c]; the same shape and type."""
        if training or self.translate_with == "moving_averages":
            return super().call(inputs, training=training, mask=mask)
        x = keras.ops.cast(inputs, "float32")
        mean, variance = keras.ops.moments(x, axes=list(range(len(x.shape) - 1)))
        x = keras.ops.batch_normalization(
            x, mean, variance, axis=-1, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        return keras.ops.cast(x, self.compute_dtype)

    def get_config(self):
        """For Keras's serialization."""
        return super().get_config() | {"translate_with": self.translate_with}
