import inspect

import keras
import numpy as np
import pytest

from model_patching.components.robust_trainer import keras_application as module
from model_patching.components.robust_trainer.backbone import build_classifier
from model_patching.components.robust_trainer.backbone_names import BACKBONES
from model_patching.components.robust_trainer.keras_application import copy_weights, keras_application

SMALL = "MobileNetV3Small"


def test_the_names_are_those_of_keras():
    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    assert list(BACKBONES) == ["small_cnn", *sorted(name for name, _ in functions)]


def weights_of(model):
    return [variable.numpy() for variable in model.trainable_variables]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_seed_alone_decides_and_the_shape_fits(channels):
    models = []
    for state, seed in ((1, 5), (2, 5), (2, 6)):
        keras.utils.set_random_seed(state)
        models.append(build_classifier(SMALL, (32, 40, channels), 3, "none", seed))
    first, again, other = map(weights_of, models)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 40, channels)).astype(np.float32)
    logits = models[0](images).numpy()
    assert logits.shape == (2, 3) and logits.dtype == np.float32
    assert isinstance(models[0].layers[-1], keras.layers.Dense)


def test_resnet50_is_kerass_with_its_preprocessing(tmp_path):
    """The same weights in Keras's own network give the same features to pixels of 0 ... 255."""
    keras.utils.set_random_seed(1)
    reference = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg"
    )
    path = str(tmp_path / "resnet.weights.h5")
    reference.save_weights(path)
    model = keras_application("ResNet50", (64, 64, 3), 2, path, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    features = keras.Model(model.input, model.layers[-1].input)
    expected = reference(keras.applications.resnet.preprocess_input(pixels.copy()))
    assert features(pixels / 127.5 - 1).numpy() == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-3)
    assert len(weights_of(model)) == len(reference.trainable_variables) + 2


def test_a_copy_computes_with_all_of_the_weights():
    """EfficientNet's normalization computes with a copy of its mean and variance."""

    def network():
        return keras.Sequential(
            [keras.Input((3,)), keras.layers.Normalization(), keras.layers.Dense(2, use_bias=False)]
        )

    source, target = network(), network()
    source.layers[0].adapt(np.float32([[10, 20, 30], [12, 24, 36]]))
    outer = keras.Sequential([keras.Input((3,)), target])
    copy_weights(keras.Sequential([keras.Input((3,)), source]), outer)
    images = np.float32([[1, 2, 3]])
    assert outer(images).numpy() == pytest.approx(source(images).numpy(), rel=1e-6)


@pytest.mark.parametrize(
    "name, shape, weights, message",
    [
        (SMALL, (32, 32, 4), "none", "^MobileNetV3Small takes images of 1 or 3 channels, not 4$"),
        ("ResNet50", (16, 16, 3), "none", "^ResNet50: Input size must be at least 32x32"),
        (SMALL, (32, 32, 3), "gone.h5", "^weights gone.h5: there is no such file$"),
    ],
)
def test_what_does_not_fit(name, shape, weights, message):
    with pytest.raises(ValueError, match=message) as error:
        keras_application(name, shape, 2, weights, 1)
    assert "\n" not in str(error.value)


def test_weights_of_another_network(tmp_path):
    path = tmp_path / "other.weights.h5"
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save_weights(path)
    for file in (path, tmp_path / "nonsense.h5"):
        if not file.exists():
            file.write_bytes(b"nonsense")
        with pytest.raises(
            ValueError, match=f"^weights {file}: don't fit {SMALL} without its top: "
        ) as error:
            keras_application(SMALL, (32, 32, 3), 2, str(file), 1)
        assert "\n" not in str(error.value)


def test_imagenet_without_internet(monkeypatch):
    def fails(*arguments, **options):
        raise Exception("URL fetch failure on https://example.com/weights.h5: None -- unreachable")

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", fails)
    monkeypatch.setattr(
        module.sys.modules[keras.applications.MobileNetV3Small.__module__].file_utils, "get_file", fails
    )
    with pytest.raises(
        ValueError, match="^weights imagenet: URL fetch failure on https://example.com/weights.h5"
    ) as error:
        keras_application(SMALL, (32, 32, 3), 2, "imagenet", 1)
    assert str(error.value).endswith("into ~/.keras/models, or set weights to its path")
