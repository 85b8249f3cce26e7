"""The classifier's network, by its name in the settings."""

import keras

from model_patching.components.robust_trainer.backbone_names import SMALL_CNN
from model_patching.components.robust_trainer.keras_application import keras_application
from model_patching.components.robust_trainer.small_cnn import small_cnn


def build_classifier(
    name: str, image_shape: tuple[int, int, int], num_classes: int, weights: str, seed: int
) -> keras.Model:
    """Builds the network.

    Args:
        name: one of `BACKBONES`.
        image_shape: (H, W, C).
        num_classes: number of logits.
        weights: "none", "imagenet" or a file, for networks of `keras.applications`.
        seed: fixes initial weights and dropout.

    Returns:
        float32 [n, H, W, C] in [-1, 1] → float32 logits [n, num_classes]. Its last layer is a `Dense`.

    Raises:
        ValueError: the images are too small for it, or the weights can't be had or don't fit.
    """
    if name == SMALL_CNN:
        return small_cnn(image_shape, num_classes, seed)
    return keras_application(name, image_shape, num_classes, weights, seed)
