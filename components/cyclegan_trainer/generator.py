"""The generator of the CycleGAN: a pix2pix U-Net.

Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", appendix 6.1.1, at the
sizes of Goel et al. 2020 or with widths as a setting.
"""

import keras
from keras import layers

from model_patching.components.cyclegan_trainer.normalization import normalize
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings

DROPOUT_UPS = 3


def published_generator_filters(image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Channels of the down-sampling convolutions for images of this size (H, W, C).

    Raises:
        ValueError: the larger side has more than 256 pixels.
    """
    side = max(image_shape[:2])
    if side <= 32:
        return (32, 64, 128, 256, 512)
    if side <= 128:
        return (64, 128, 256, 512, 512, 512, 512)
    if side <= 256:
        return (64, 128, 256, 512, 512, 512, 512, 512)
    raise ValueError(f"no published generator is for images of {side} pixels: set generator_filters")


def published_dropout(image_shape: tuple[int, int, int]) -> float:
    """Share of dropped activations in the first ups for images of this size (H, W, C)."""
    return 0.0 if max(image_shape[:2]) <= 32 else 0.5


def generator(
    image_shape: tuple[int, int, int], settings: CycleGANTrainerSettings, seed: int, name: str
) -> keras.Model:
    """Builds a U-Net that translates an image into the other subgroup.

    Call it with training=False to translate: that draws no dropout and changes no variable, and with batch
    normalization `translate_with` says whose statistics it uses.

    Args:
        image_shape: (H, W, C). The image is padded with -1 (black) to the next multiple of 2 ** downs and the output
            is cropped back.
        settings: filters, dropout, normalization and output.
        seed: fixes the initial weights and the dropout.
        name: of the model.

    Returns:
        float32 [n, H, W, C] in [-1, 1] → float32 [n, H, W, C] in [-1, 1]; with `residual_outputs` the output is the
        image plus what the network adds, and may leave [-1, 1].

    Raises:
        ValueError: see `published_generator_filters`.
    """
    filters = settings.generator_filters or published_generator_filters(image_shape)
    dropout = published_dropout(image_shape) if settings.dropout is None else settings.dropout
    kernel_seeds = keras.random.SeedGenerator(seed)
    convolution = {
        "kernel_size": 4,
        "strides": 2,
        "padding": "same",
        "kernel_initializer": normal_initializer(kernel_seeds),
    }

    image = keras.Input(image_shape)
    x, crop = pad_to_multiple(image, 2 ** len(filters))

    skips = []
    for i, count in enumerate(filters):
        x = layers.Conv2D(count, use_bias=False, **convolution)(x)
        if i > 0:  # pix2pix has none after the first layer
            x = normalize(x, settings)
        x = layers.LeakyReLU(0.2)(x)
        skips.append(x)

    for i, (count, skip) in enumerate(zip(reversed(filters[:-1]), reversed(skips[:-1]), strict=True)):
        x = layers.Conv2DTranspose(count, use_bias=False, **convolution)(x)
        x = normalize(x, settings)
        if i < DROPOUT_UPS and dropout > 0:
            x = layers.Dropout(dropout, seed=DROPOUT_UPS * seed + i)(x)
        x = layers.ReLU()(x)
        x = layers.Concatenate()([x, skip])

    convolution["kernel_initializer"] = normal_initializer(kernel_seeds, settings.output_init)
    x = layers.Conv2DTranspose(image_shape[-1], dtype="float32", **convolution)(x)
    x = layers.Cropping2D(crop, dtype="float32")(x)
    if settings.residual_outputs:
        x = layers.Add(dtype="float32")([image, x])
    else:
        x = layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(image, x, name=name)


def normal_initializer(seeds: keras.random.SeedGenerator, stddev: float = 0.02) -> keras.Initializer:
    """pix2pix's initial weights, normal; every layer that shares `seeds` draws its own."""
    return keras.initializers.RandomNormal(stddev=stddev, seed=seeds)


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
