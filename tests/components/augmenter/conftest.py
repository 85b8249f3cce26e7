"""Translators with known effects, and records to put through them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from model_patching.data.schema import Record


class Effect(keras.layers.Layer):
    """Applies a function of the batch, float32 [n, H, W, C] in [-1, 1]; times a variable, as real translators have."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.one = self.add_weight(shape=(), initializer="ones")

    def call(self, images):
        return self.function(images) * self.one


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
