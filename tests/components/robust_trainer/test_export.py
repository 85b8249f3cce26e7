import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.robust_trainer.export import export_classifier
from model_patching.components.robust_trainer.small_cnn import small_cnn
from model_patching.data import schema
from model_patching.data.schema import Record

SHAPE = (16, 18, 3)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, *SHAPE)).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    return small_cnn(SHAPE, 4, 0)


@pytest.fixture(scope="module")
def served(model, make_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    export_classifier(model, make_dataset(4, 2, SHAPE), str(folder))
    return tf.saved_model.load(str(folder)).signatures


def probabilities(model, pixels):
    """exp(logit) / sum exp(logit), in numpy."""
    scores = np.exp(model(pixels.astype(np.float32) / 127.5 - 1, training=False).numpy())
    return scores / scores.sum(axis=1, keepdims=True)


def test_serves_encoded_images(served, model, images):
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    answer = served["serving_image"](encoded)
    assert set(answer) == {"probabilities"}
    assert answer["probabilities"].numpy() == pytest.approx(probabilities(model, images), abs=1e-5)


def test_serves_records(served, model, images):
    records = [Record(tf.io.encode_png(image).numpy(), 0, 0, "id") for image in images]
    answer = served["serving_default"](tf.constant([schema.serialize(record) for record in records]))
    assert set(answer) == {"probabilities"}
    assert answer["probabilities"].numpy() == pytest.approx(probabilities(model, images), abs=1e-5)


def test_needs_of_a_record_its_image_alone(served, model, images):
    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(tf.io.encode_png(images[0]).numpy())
    answer = served["serving_default"](tf.constant([example.SerializeToString()]))
    assert answer["probabilities"].numpy() == pytest.approx(probabilities(model, images[:1]), abs=1e-5)


def test_serves_jpeg(served, model, images):
    encoded = tf.io.encode_jpeg(images[0], quality=95)
    answer = served["serving_image"](encoded[None])
    decoded = tf.io.decode_jpeg(encoded).numpy()[None]
    assert answer["probabilities"].numpy() == pytest.approx(probabilities(model, decoded), abs=1e-5)


def test_another_size_is_an_error(served):
    encoded = tf.io.encode_png(tf.zeros((16, 16, 3), tf.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[16,16,3\].*\[16,18,3\]"):
        served["serving_image"](encoded[None])
