"""Reading one published folder."""

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.published_patches.folders import PatchesError
from model_patching.components.published_patches.shards import read_images, survey
from model_patching.data.dataset import Dataset
from model_patching.data.source import SourceError

DATASET = Dataset(classes=("landbird", "waterbird"), subgroups=("land", "water"), image_shape=(4, 4, 3))


def example(**features):
    kinds = {
        bytes: lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])),
        int: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=[value])),
    }
    feature = {name: kinds[type(value)](value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def jpeg(value, shape=(4, 4, 3)):
    return tf.image.encode_jpeg(np.full(shape, value, np.uint8)).numpy()


@pytest.fixture
def folder(tmp_path):
    """Records 0 to 11 in three files that don't lie in the order of their names."""
    for name, numbers in (
        ("8-5.tfrec", range(5)),
        ("9-5.tfrec", range(5, 10)),
        ("10-5.tfrec", range(10, 12)),
    ):
        write(tmp_path / name, [example(image=jpeg(20 * number), label=1) for number in numbers])
    (tmp_path / "writer.lock").touch()
    return tmp_path


def test_files_follow_each_other_by_number(folder):
    found = survey(str(folder), 1, {0, 7, 11}, DATASET)
    assert found.shards == (
        (f"{folder}/8-5.tfrec", 5),
        (f"{folder}/9-5.tfrec", 5),
        (f"{folder}/10-5.tfrec", 2),
    )
    assert found.count == 12
    assert {place: int(picture.mean().round()) for place, picture in found.thumbnails.items()} == {
        0: 0,
        7: 140,
        11: 220,
    }
    for first, end in ((0, 12), (3, 4), (4, 6), (5, 10), (7, 12), (11, 12)):
        read = list(read_images(found.shards, first, end))
        assert [image for _, image in read] == [jpeg(20 * number) for number in range(first, end)]
    assert [place for place, _ in read_images(found.shards, 9, 11)] == [
        f"{folder}/9-5.tfrec, record 4",
        f"{folder}/10-5.tfrec, record 0",
    ]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (example(image=jpeg(0), label=0), "label 0, but the folder is of label 1, 'waterbird'"),
        (example(image=jpeg(0)), "feature 'label' is missing"),
        (example(label=1), "feature 'image' is missing"),
        (example(image=7, label=1), "feature 'image' must be bytes_list, found int64_list"),
        (b"\xff", "not a serialized tf.train.Example"),
        (example(image=b"no image", label=1), "bad image: Unknown image file format"),
        (
            example(image=jpeg(0, (4, 5, 3)), label=1),
            "bad image: Shape of tensor input [4,5,3] is not compatible",
        ),
        (
            example(image=jpeg(0, (4, 4, 1)), label=1),
            "bad image: Shape of tensor input [4,4,1] is not compatible",
        ),
    ],
)
def test_a_bad_record_is_named(folder, record, says):
    path = folder / "9-5.tfrec"
    write(path, [example(image=jpeg(0), label=1), record])
    with pytest.raises(PatchesError) as caught:
        survey(str(folder), 1, range(12), DATASET)
    assert str(caught.value).startswith(f"{path}, record 1: {says}") and "\n" not in str(caught.value)


def test_a_damaged_file_is_named(folder):
    path = folder / "9-5.tfrec"
    content = path.read_bytes()
    for damaged, says in (
        (content[:-3], "record 4: the file is cut off here"),
        (content[:100] + b"\0\0\0" + content[103:], "record 0: wrong checksum"),
        (b"not a record file", "record 0: wrong checksum"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(SourceError) as caught:
            survey(str(folder), 1, (), DATASET)
        assert str(caught.value).startswith(f"{path}, {says}")


def test_no_files(tmp_path):
    with pytest.raises(PatchesError, match=": 0 .tfrec files$"):
        survey(str(tmp_path), 1, (), DATASET)
