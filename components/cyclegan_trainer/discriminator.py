"""The discriminator of the CycleGAN: PatchGAN.

Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", section 3.2.2.
"""

import keras
from keras import layers

from model_patching.components.cyclegan_trainer.generator import normal_initializer, pad_to_multiple
from model_patching.components.cyclegan_trainer.normalization import normalize
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings

PUBLISHED_FILTERS = (64, 128, 256, 512)


def discriminator(
    image_shape: tuple[int, int, int], settings: CycleGANTrainerSettings, seed: int, name: str
) -> keras.Model:
    """Builds a network that tells, patch by patch, real images of a subgroup from translated ones.

    Args:
        image_shape: (H, W, C). The image is padded with -1 (black) to a multiple of the patches' size.
        settings: filters (all but the last halve the resolution) and normalization.
        seed: fixes the initial weights.
        name: of the model.

    Returns:
        float32 [n, H, W, C] in [-1, 1] → float32 logits [n, h, w, 1], one for each patch.
    """
    filters = settings.discriminator_filters or PUBLISHED_FILTERS
    initializer = normal_initializer(keras.random.SeedGenerator(seed))

    image = keras.Input(image_shape)
    x, _ = pad_to_multiple(image, 2 ** (len(filters) - 1))
    for i, count in enumerate(filters):
        strides = 2 if i < len(filters) - 1 else 1
        x = layers.Conv2D(
            count, 4, strides=strides, padding="same", use_bias=i == 0, kernel_initializer=initializer
        )(x)
        if i > 0:
            x = normalize(x, settings)
        x = layers.LeakyReLU(0.2)(x)
    logits = layers.Conv2D(1, 4, padding="same", kernel_initializer=initializer, dtype="float32")(x)
    return keras.Model(image, logits, name=name)
