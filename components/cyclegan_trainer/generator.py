"""The generator of the CycleGAN: a pix2pix U-Net.

Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", appendix 6.1.1, with
the widths as a setting and instance normalization (Ulyanov et al. 2016, arXiv:1607.08022): an image's translation then
doesn't depend on the images beside it, so several batches can go through a network in one call.
"""

from collections.abc import Sequence

import keras
from keras import layers


def generator(image_shape: tuple[int, int, int], filters: Sequence[int], seed: int, name: str) -> keras.Model:
    """Builds a U-Net that translates an image into the other subgroup.

    Args:
        image_shape: (H, W, C). The image is padded with -1 (black) to the next multiple of 2 ** len(filters) and the
            output is cropped back.
        filters: channels of each down-sampling convolution; the up-sampling ones mirror them.
        seed: fixes the initial weights.
        name: of the model.

    Returns:
        float32 [n, H, W, C] in [-1, 1] → float32 [n, H, W, C] in [-1, 1].
    """
    height, width, channels = image_shape
    convolution = {
        "kernel_size": 4,
        "strides": 2,
        "padding": "same",
        "kernel_initializer": normal_initializer(seed),
    }

    image = keras.Input(image_shape)
    x, crop = pad_to_multiple(image, 2 ** len(filters))

    skips = []
    for i, count in enumerate(filters):
        x = layers.Conv2D(count, use_bias=False, **convolution)(x)
        if i > 0:  # pix2pix has none after the first layer
            x = instance_normalization(x)
        x = layers.LeakyReLU(0.2)(x)
        skips.append(x)

    for count, skip in zip(reversed(filters[:-1]), reversed(skips[:-1]), strict=True):
        x = layers.Conv2DTranspose(count, use_bias=False, **convolution)(x)
        x = instance_normalization(x)
        x = layers.ReLU()(x)
        x = layers.Concatenate()([x, skip])

    x = layers.Conv2DTranspose(channels, dtype="float32", **convolution)(x)
    x = layers.Activation("tanh", dtype="float32")(x)
    x = layers.Cropping2D(crop, dtype="float32")(x)
    return keras.Model(image, x, name=name)


def normal_initializer(seed: int) -> keras.initializers.Initializer:
    """pix2pix's initial weights, normal with a standard deviation of 0.02; every layer that shares it draws its own."""
    return keras.initializers.RandomNormal(stddev=0.02, seed=keras.random.SeedGenerator(seed))


def instance_normalization(x: keras.KerasTensor) -> keras.KerasTensor:
    """Group normalization with one channel a group; at 1×1, where the mean is all there is and would go, nothing."""
    if x.shape[1] * x.shape[2] == 1:
        return x
    return layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)


def pad_to_multiple(image: keras.KerasTensor, multiple: int) -> tuple[keras.KerasTensor, tuple]:
    """Pads [n, H, W, C] evenly with -1 so that H and W divide by `multiple`; returns it and the crop that undoes it."""
    padding = []
    for size in image.shape[1:3]:
        total = -size % multiple
        padding.append((total // 2, total - total // 2))
    if padding == [(0, 0), (0, 0)]:
        return image, tuple(padding)
    padded = keras.ops.pad(image, [(0, 0), *padding, (0, 0)], constant_values=-1.0)
    return padded, tuple(padding)
