"""The small convolutional network for digits."""

import itertools

import keras
from keras import layers

SMALLEST = 10  # pixels a side: its two blocks leave one of them
LAYERS_WITH_SEED = 9


def small_cnn(image_shape: tuple[int, int, int], num_classes: int, seed: int) -> keras.Model:
    """Builds the classifier that Model Patching trains on MNIST-Correlation (Goel et al. 2020).

    Two blocks of two 3×3 convolutions (32 and 64 channels) with max-pooling and dropout, then a dense layer of 64.
    The first convolution of a block is padded.

    Args:
        image_shape: (H, W, C).
        num_classes: C, the number of logits.
        seed: fixes the initial weights and the dropout.

    Returns:
        float32 [n, H, W, C] in [-1, 1] → float32 logits [n, num_classes].

    Raises:
        ValueError: the images are too small for its convolutions.
    """
    height, width, _ = image_shape
    if min(height, width) < SMALLEST:
        raise ValueError(
            f"images of {height}×{width} are too small for the small CNN: it needs {SMALLEST}×{SMALLEST} or more"
        )
    # Every layer has a seed of its own. Without one, Keras takes it from Python's global random state, from which other
    # threads of the process (Beam's, the tracker's) draw as well.
    seeds = itertools.count(seed * LAYERS_WITH_SEED)

    def initializer() -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=next(seeds))

    image = keras.Input(image_shape)
    x = image
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer=initializer())(x)
        x = layers.Conv2D(filters, 3, activation="relu", kernel_initializer=initializer())(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(0.25, seed=next(seeds))(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu", kernel_initializer=initializer())(x)
    x = layers.Dropout(0.5, seed=next(seeds))(x)
    logits = layers.Dense(num_classes, kernel_initializer=initializer(), dtype="float32")(x)
    return keras.Model(image, logits, name="small_cnn")
