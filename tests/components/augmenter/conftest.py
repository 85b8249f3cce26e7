"""Translators with known effects, and records to put through them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_patching.data import schema
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record


class Effect(keras.layers.Layer):
    """Applies a function of the batch, float32 [n, H, W, C] in [-1, 1]; times a variable, as real translators have."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.one = self.add_weight(shape=(), initializer="ones")

    def call(self, images):
        return self.function(images) * self.one


def negative(images):
    return -images


def constant(value):
    """Every pixel at one grey level, 0 ... 255."""
    return lambda images: tf.zeros_like(images) + (value / 127.5 - 1.0)


def batch_mean(images):
    """Each image becomes the mean of its batch: shows which images shared one."""
    return tf.zeros_like(images) + tf.reduce_mean(images, axis=0, keepdims=True)


def not_a_number(images):
    return images / 0.0


@pytest.fixture
def write_model():
    """Writes a translators' model folder: `effects` maps (source, target) to a function."""

    def write(folder, effects, label=None, shape=(4, 4, 1)):
        for (source, target), function in effects.items():
            model = keras.Sequential([keras.Input(shape), Effect(function)])
            archive = keras.export.ExportArchive()
            archive.track(model)
            archive.add_endpoint("serve", model.call, [tf.TensorSpec((None, *shape), tf.float32)])
            archive.write_out(str(folder / "translators" / f"{source}_to_{target}"), verbose=False)
        description = {"label": label, "pairs": [list(pair) for pair in effects], "image_shape": list(shape)}
        (folder / "translators.json").write_text(json.dumps(description | {"seed": 1, "versions": {}}))
        return str(folder)

    return write


@pytest.fixture
def make_records():
    """Records of grey images, `counts[label][subgroup]` of each group; each pixel of an image is drawn by its seed."""

    def make(counts, shape=(4, 4, 1), seed=0):
        generator = np.random.default_rng(seed)
        records = []
        for label, row in enumerate(counts):
            for subgroup, count in enumerate(row):
                for number in range(count):
                    pixels = generator.integers(0, 256, shape).astype(np.uint8)
                    image = tf.io.encode_png(pixels).numpy()
                    records.append(Record(image, label, subgroup, f"example-{label}-{subgroup}-{number:04d}"))
        return [records[i] for i in generator.permutation(len(records))]

    return make


def write_file(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else schema.serialize(record))
    return str(path)


def read_folder(folder):
    paths = sorted(folder.iterdir())
    return [schema.deserialize(item) for item in schema.read_records(paths).as_numpy_iterator()]


def pixels(image):
    return tf.io.decode_image(image).numpy()


@pytest.fixture
def two_by_two():
    return Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(4, 4, 1))
