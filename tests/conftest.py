"""Tiny data sets: arrays whose pixels tell which example they are, and record files."""

import numpy as np
import pytest
import tensorflow as tf

from model_patching.data import schema
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record


@pytest.fixture(scope="session")
def make_dataset():
    """A data set of C classes (c0, c1, ...) and K subgroups (s0, s1, ...)."""

    def make(num_classes=2, num_subgroups=2, image_shape=(8, 8, 1)):
        return Dataset(
            classes=tuple(f"c{label}" for label in range(num_classes)),
            subgroups=tuple(f"s{subgroup}" for subgroup in range(num_subgroups)),
            image_shape=image_shape,
        )

    return make


@pytest.fixture(scope="session")
def make_arrays():
    """Arrays with `counts[label][subgroup]` examples. Pixels of example i are i, of its rendition k 100 + 50 k + i."""

    def make(counts, image_shape=(2, 2, 1), patched=False):
        counts = np.array(counts)
        total = counts.sum()
        group = np.repeat(np.arange(counts.size), counts.reshape(-1))
        index = np.arange(total, dtype=np.uint8)
        images = np.broadcast_to(index.reshape(-1, 1, 1, 1), (total, *image_shape)).copy()
        renditions = np.stack([images + 100 + 50 * k for k in range(counts.shape[1])], axis=1)
        return Arrays(
            image=images,
            patched_images=renditions if patched else None,
            label=(group // counts.shape[1]).astype(np.int32),
            subgroup=(group % counts.shape[1]).astype(np.int32),
            group_count=counts.reshape(-1).astype(np.int32),
        )

    return make


@pytest.fixture(scope="session")
def write_records():
    """Writes records, or bytes as they are, to a gzip TFRecord; returns its path."""

    def write(path, records):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path), options=schema.COMPRESSION) as writer:
            for record in records:
                writer.write(record if isinstance(record, bytes) else schema.serialize(record))
        return str(path)

    return write


@pytest.fixture(scope="session")
def toy_records():
    """Records whose label and subgroup can be seen.

    Class y is bright in the y-th of C vertical stripes; subgroup z has a white square at the bottom, the z-th of K from
    the left, but subgroup 0 has none. Renditions differ from the image in that square alone.
    """

    def make(counts, image_shape, patched=False, seed=0):
        generator = np.random.default_rng(seed)
        num_classes, num_subgroups = len(counts), len(counts[0])
        height, width, _ = image_shape
        side = width // num_subgroups

        def draw(label, subgroup, noise):
            pixels = noise.copy()
            stripe = width // num_classes
            pixels[:, label * stripe : (label + 1) * stripe] += 100
            if subgroup > 0:
                pixels[height - 3 :, subgroup * side : (subgroup + 1) * side] = 255
            return tf.io.encode_png(pixels.astype(np.uint8)).numpy()

        records = []
        for label, row in enumerate(counts):
            for subgroup, count in enumerate(row):
                for _ in range(count):
                    noise = generator.integers(0, 60, image_shape)
                    renditions = tuple(draw(label, k, noise) for k in range(num_subgroups))
                    records.append(
                        Record(
                            image=renditions[subgroup],
                            label=label,
                            subgroup=subgroup,
                            example_id=f"toy-{len(records)}",
                            patched_images=renditions if patched else (),
                        )
                    )
        return [records[i] for i in generator.permutation(len(records))]

    return make


class Notes:
    """A tracker that remembers what it is told."""

    def __init__(self):
        self.points = []
        self.images = []
        self.closing = {}

    def log(self, step, values):
        self.points.append((step, dict(values)))

    def image(self, step, name, image):
        self.images.append((step, name, image))

    def summary(self, values):
        self.closing.update(values)

    def finish(self):
        pass


@pytest.fixture
def notes():
    return Notes()
