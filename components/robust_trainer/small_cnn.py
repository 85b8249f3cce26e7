"""The small convolutional network for digits."""

import keras
from keras import layers

SMALLEST = 16  # pixels a side: its two blocks leave one of them


def small_cnn(image_shape: tuple[int, int, int], num_classes: int, seed: int) -> keras.Model:
    """Builds the classifier that Model Patching trains on MNIST-Correlation (Goel et al. 2020).

    Two blocks of two 3×3 convolutions (32 and 64 channels) with max-pooling and dropout, then a dense layer of 64.

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
    keras.utils.set_random_seed(seed)
    image = keras.Input(image_shape)
    x = image
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    logits = layers.Dense(num_classes, dtype="float32")(x)
    return keras.Model(image, logits, name="small_cnn")
