"""A data set as Goel et al. publish it, with patched images that were made in the way of the research code."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model_patching.data import schema
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record
from model_patching.data.source_order import group_code, read_source_order, record_id, write_source_order

SPLITS = {"train": "train", "validation": "val", "test": "test"}
RUN = "wandb[hazy-research:waterbirds:{run}].f_epoch[20].g_epoch[20].mode[False].batch[4]"
RUNS = ("5f2gmy7w", "vla2y0m7")  # of each class


@dataclass
class Published:
    """What lies where.

    Attributes:
        patches: the base folder of the patched images.
        records: record files of each split.
        expected: the patched images of each record, by its id; those in subgroup 0 first.
    """

    dataset: Dataset
    folder: Path
    records: dict[str, list[str]] = field(default_factory=dict)
    expected: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def patches(self) -> Path:
        return self.folder / "patches"

    @property
    def order(self):
        return read_source_order(self.folder / "records" / "source_order.npz")

    def group_folder(self, split, label, subgroup, take=None):
        suffix = "test" if split == "test" else f"{SPLITS[split]}.0.000"
        name = f"waterbirds.{label}.{subgroup}.y" + ("" if take is None else f".{take}")
        return self.patches / f"[{name}].[1.*.*].{suffix}"

    def pair(self, split, label, subgroup, take=None, run=None):
        """Folders of the images in subgroup 0 and 1."""
        prefix = RUN.format(run=run or RUNS[label])
        return [
            self.group_folder(split, label, subgroup, take) / f"{prefix}.model[gen_{letter}]"
            for letter in "gf"
        ]


@pytest.fixture
def rewrite():
    """Puts other records into a published file: `change` takes and returns a list of (image, label)."""

    def make(path, change):
        records = []
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(serialized).features.feature
            records.append((features["image"].bytes_list.value[0], features["label"].int64_list.value[0]))
        with tf.io.TFRecordWriter(str(path)) as writer:
            for image, label in change(records):
                writer.write(patched_record(image, label))

    return make


def patched_record(image, label):
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def encode(pixels):
    """As the research code does it."""
    return tf.image.encode_jpeg(pixels, optimize_size=True, chroma_downsampling=False).numpy()


@pytest.fixture
def publish(tmp_path):
    """Writes record files, patched images for them, and the records that a build makes of the former.

    `counts[split][label][subgroup]` records lie, mixed, in source files of the sizes `files`; the research code reads
    `files_at_once` of them and writes its patched images in files of `shard` records. With `take` only so many of group
    (0, 0) of the training split are patched.
    """

    def make(counts, files, files_at_once, shard=7, take=None, image_shape=(16, 16, 3), seed=0):
        generator = np.random.default_rng(seed)
        dataset = Dataset(
            classes=("landbird", "waterbird"), subgroups=("land", "water"), image_shape=image_shape
        )
        published = Published(dataset, tmp_path)
        groups = [
            (split, label, subgroup)
            for split, of_split in counts.items()
            for label, row in enumerate(of_split)
            for subgroup, count in enumerate(row)
            for _ in range(count)
        ]
        groups = [groups[i] for i in generator.permutation(len(groups))]
        assert sum(files) == len(groups)

        # The source, each record with its number among all, and what a build makes of it.
        (tmp_path / "source").mkdir()
        (tmp_path / "records").mkdir()
        images, ids, codes = [], [], {}
        for index, size in enumerate(files):
            part = f"{index:02d}.tfrec"
            codes[part] = np.zeros(size, np.int16)
            with tf.io.TFRecordWriter(str(tmp_path / "source" / part)) as writer:
                for number in range(size):
                    split, label, subgroup = groups[len(images)]
                    codes[part][number] = group_code(split, 2 * label + subgroup, 4)
                    writer.write(str(len(images)).encode())
                    coarse = generator.integers(30, 220, (4, 4, image_shape[-1]))
                    pixels = tf.image.resize(coarse, image_shape[:2], method="bicubic")
                    images.append(tf.cast(tf.clip_by_value(pixels, 0, 255), tf.uint8).numpy())
                    ids.append(record_id(part, number))
        write_source_order(tmp_path / "records", codes)
        for split in counts:
            records = [
                Record(encode(image), label, subgroup, example_id)
                for image, example_id, (of_split, label, subgroup) in zip(images, ids, groups, strict=True)
                if of_split == split
            ]
            records = [records[i] for i in generator.permutation(len(records))]
            published.records[split] = []
            for index in range(2):
                path = schema.shard_path(tmp_path / "records", split, index, 2)
                path.parent.mkdir(exist_ok=True)
                with tf.io.TFRecordWriter(str(path), options=schema.COMPRESSION) as writer:
                    for record in records[index::2]:
                        writer.write(schema.serialize(record))
                published.records[split].append(str(path))

        # The patched images, in the order in which TensorFlow reads the source.
        paths = tf.data.Dataset.list_files(f"{tmp_path}/source/*.tfrec", shuffle=False)
        source = tf.data.TFRecordDataset(paths, num_parallel_reads=files_at_once)
        read = [int(number) for number in source.as_numpy_iterator()]
        for split, label, subgroup in sorted(set(groups)):
            taken = take if (split, label, subgroup) == ("train", 0, 0) else None
            of_group = [number for number in read if groups[number] == (split, label, subgroup)][:taken]
            for folder in published.pair(split, label, subgroup, taken):
                folder.mkdir(parents=True)
            for start in range(0, len(of_group), shard):
                name = f"{start // shard:02d}-{shard}.tfrec"
                writers = [
                    tf.io.TFRecordWriter(str(folder / name))
                    for folder in published.pair(split, label, subgroup, taken)
                ]
                for number in of_group[start : start + shard]:
                    land, water = images[number].copy(), images[number].copy()
                    land[-3:] = land[-3:] // 2
                    water[-3:] = 255 - water[-3:] // 2
                    published.expected[ids[number]] = encode(land), encode(water)
                    for writer, image in zip(writers, published.expected[ids[number]], strict=True):
                        writer.write(patched_record(image, label))
                for writer in writers:
                    writer.close()
        return published

    return make
