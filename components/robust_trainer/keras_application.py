"""Networks of `keras.applications`, with their preprocessing inside and a new last layer."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

LAYERS_WITH_SEED = 2000  # more than any of the networks has


def keras_application(
    name: str, image_shape: tuple[int, int, int], num_classes: int, weights: str, seed: int
) -> keras.Model:
    """Builds a network of `keras.applications` with global average pooling and a dense layer of logits on top.

    Args:
        name: of the function, such as "ResNet50".
        image_shape: (H, W, C) with C of 1, which becomes three equal channels, or 3.
        num_classes: number of logits.
        weights: of the network without its top: "none", "imagenet", or a file for `keras.Model.load_weights`.
        seed: fixes the initial weights and the dropout.

    Returns:
        float32 [n, H, W, C] in [-1, 1] → float32 logits [n, num_classes].

    Raises:
        ValueError: the images are too small or have another number of channels; the weights can't be downloaded or
            found, or they don't fit.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise ValueError(f"{name} takes images of 1 or 3 channels, not {channels}")
    build = getattr(keras.applications, name)
    original = _network(build, name, (height, width, 3), weights)
    network = _seeded(original, seed * LAYERS_WITH_SEED)
    if weights == "imagenet":
        copy_weights(original, network)
    elif weights != "none":
        _load(network, name, weights)

    image = keras.Input(image_shape)
    # The networks were trained on pixels of 0 ... 255, each with its own preprocessing.
    x = layers.Rescaling(127.5, offset=127.5, dtype="float32")(image)
    if channels == 1:
        x = layers.Concatenate()([x, x, x])
    x = network(sys.modules[build.__module__].preprocess_input(x))
    initializer = keras.initializers.GlorotUniform(seed=seed * LAYERS_WITH_SEED + LAYERS_WITH_SEED - 1)
    logits = layers.Dense(num_classes, kernel_initializer=initializer, dtype="float32")(x)
    return keras.Model(image, logits, name=name)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Gives `target` the weights of `source`, which has the same layers."""
    target.set_weights(source.get_weights())
    for layer in target._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            # It computes with a copy of its weights, which Keras renews here alone.
            layer.finalize_state()


def _network(build: Callable, name: str, shape: tuple[int, int, int], weights: str) -> keras.Model:
    """The network without its top: float32 [n, H, W, 3], preprocessed → features [n, F]."""
    try:
        return build(
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
            input_shape=shape,
            pooling="avg",
        )
    except ValueError as error:
        raise ValueError(f"{name}: {_first_line(error)}") from None
    except Exception as error:  # Keras's download raises just that
        raise ValueError(
            f"weights imagenet: {_first_line(error)}; on a machine without internet put that file, downloaded "
            "elsewhere, into ~/.keras/models, or set weights to its path"
        ) from None


def _seeded(network: keras.Model, first_seed: int) -> keras.Model:
    """A copy whose initializers and dropout have seeds; Keras's own come from Python's global random state."""
    seeds = itertools.count(first_seed)

    def with_seeds(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        inner = [value.get("config", {}) for value in config.values() if isinstance(value, dict)]
        for part in [config, *inner]:
            if part.get("seed", 0) is None:
                part["seed"] = next(seeds)
        return layer.__class__.from_config(config)

    return keras.models.clone_model(network, clone_function=with_seeds)


def _load(network: keras.Model, name: str, path: str) -> None:
    if not Path(path).is_file():
        raise ValueError(f"weights {path}: there is no such file")
    try:
        network.load_weights(path)
    except Exception as error:  # one of many kinds, by what is wrong with the file
        raise ValueError(f"weights {path}: don't fit {name} without its top: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
