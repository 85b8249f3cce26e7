import gzip

import numpy as np
import pytest
import tensorflow as tf

from model_patching.data import schema
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record, RecordError

DATASET = Dataset(classes=("a", "b"), subgroups=("x", "y", "z"), image_shape=(2, 3, 1))
PIXELS = np.array([[0, 1, 2], [128, 254, 255]], np.uint8)[..., None]


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


def record(**changes):
    fields = {"image": png(PIXELS), "label": 1, "subgroup": 2, "example_id": "train-7"} | changes
    return Record(**fields)


def test_round_trip_with_and_without_patched_images():
    for patched in ((), (b"p0", b"p1", b"p2")):
        source = record(patched_images=patched)
        assert schema.deserialize(schema.serialize(source)) == source


def test_further_features_come_through_whatever_their_type():
    further = {
        "camera": schema.feature("Leica Ä"),
        "iso": schema.feature(400),
        "position": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, 1.5])),
    }
    found = schema.deserialize(schema.serialize(record(further=further)))
    assert found == record(further=further)
    assert found.further["camera"].bytes_list.value[0].decode() == "Leica Ä"
    assert schema.parse(schema.serialize(found), DATASET, patched=False)["label"].numpy() == 1


def test_the_features_on_disk_are_the_documented_ones():
    example = tf.train.Example.FromString(schema.serialize(record(patched_images=(b"p0", b"p1", b"p2"))))
    kinds = {name: feature.WhichOneof("kind") for name, feature in example.features.feature.items()}
    assert kinds == {
        "image": "bytes_list",
        "label": "int64_list",
        "subgroup": "int64_list",
        "example_id": "bytes_list",
        "patched_images": "bytes_list",
    }
    plain = tf.train.Example.FromString(schema.serialize(record()))
    assert "patched_images" not in plain.features.feature


def test_serialized_bytes_sort_the_features():
    serialized = schema.serialize(record(patched_images=(b"p0", b"p1", b"p2")))
    names = [b"example_id", b"image", b"label", b"patched_images", b"subgroup"]
    positions = [serialized.index(bytes([10, len(name)]) + name) for name in names]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    "feature, message",
    [
        (None, "record 'train-7': feature 'label' is missing"),
        (
            tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"1"])),
            "must be int64_list, found bytes_list",
        ),
        (tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 2])), "must have one value, found 2"),
        (tf.train.Feature(), "found no value"),
    ],
)
def test_a_bad_label_is_named(feature, message):
    example = tf.train.Example.FromString(schema.serialize(record()))
    del example.features.feature["label"]
    if feature is not None:
        example.features.feature["label"].CopyFrom(feature)
    with pytest.raises(RecordError, match=message) as caught:
        schema.deserialize(example.SerializeToString())
    assert "\n" not in str(caught.value)


def test_a_record_without_an_id_and_one_that_is_no_example_are_named():
    with pytest.raises(RecordError, match="feature 'example_id' is missing"):
        schema.deserialize(tf.train.Example().SerializeToString())
    with pytest.raises(RecordError, match="not a serialized tf.train.Example"):
        schema.deserialize(b"\xff\xff\xff")


@pytest.mark.parametrize("patched", [False, True])
def test_parse_takes_a_scalar_or_a_batch(patched):
    images = (b"p0", b"p1", b"p2")
    first = schema.serialize(record(patched_images=images))
    second = schema.serialize(record(label=0, subgroup=1, example_id="train-8", patched_images=images))
    batch = tf.function(lambda s: schema.parse(s, DATASET, patched))(tf.constant([first, second]))
    assert batch["label"].numpy().tolist() == [1, 0]
    assert batch["subgroup"].numpy().tolist() == [2, 1]
    assert batch["example_id"].numpy().tolist() == [b"train-7", b"train-8"]
    scalar = schema.parse(tf.constant(second), DATASET, patched)
    assert scalar["label"].shape == () and scalar["label"].numpy() == 0
    assert scalar["image"].numpy() == png(PIXELS)
    assert ("patched_images" in batch) is patched
    if patched:
        assert batch["patched_images"].numpy().tolist() == [list(images)] * 2
        assert scalar["patched_images"].numpy().tolist() == list(images)


def test_parse_refuses_a_record_that_was_not_patched():
    with pytest.raises(tf.errors.InvalidArgumentError, match="patched_images"):
        schema.parse(tf.constant(schema.serialize(record())), DATASET, patched=True)


def test_decode_image_gives_the_pixels_in_a_graph():
    decode = tf.function(lambda encoded: schema.decode_image(encoded, DATASET))
    decoded = decode(tf.constant(png(PIXELS)))
    assert decoded.dtype == tf.uint8 and decoded.shape == (2, 3, 1)
    np.testing.assert_array_equal(decoded, PIXELS)


@pytest.mark.parametrize("shape, found", [((3, 2, 1), r"\[3,2,1\]"), ((2, 3, 3), r"\[2,3,3\]")])
def test_an_image_of_another_shape_is_an_error_that_has_both(shape, found):
    decode = tf.function(lambda encoded: schema.decode_image(encoded, DATASET))
    message = rf"{found} is not compatible with expected shape \[2,3,1\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(tf.constant(png(np.zeros(shape, np.uint8))))


def test_float_range_and_back():
    np.testing.assert_allclose(schema.to_float(np.uint8([0, 51, 255])), [-1.0, -0.6, 1.0], atol=1e-6)
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(schema.to_uint8(schema.to_float(every)), every)
    np.testing.assert_array_equal(schema.to_uint8(np.float32([-3.0, 3.0])), [0, 255])


def test_encode_png_takes_one_image_or_a_batch():
    batch = schema.encode_png(np.stack([PIXELS, 255 - PIXELS]))
    np.testing.assert_array_equal(tf.io.decode_png(batch[1]), 255 - PIXELS)
    assert schema.encode_png(PIXELS).numpy() == batch[0].numpy()


def test_read_records_keeps_the_order_of_files_and_records(tmp_path):
    paths = [tmp_path / "b", tmp_path / "a"]
    for name, path in enumerate(paths):
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for number in range(3):
                writer.write(f"{name}-{number}".encode())
        gzip.decompress(path.read_bytes())
    found = [item.decode() for item in schema.read_records(paths).as_numpy_iterator()]
    assert found == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]


def test_shard_path():
    path = schema.shard_path("root", "validation", 3, 12)
    assert path.as_posix() == "root/validation/data-00003-of-00012.tfrecord.gz"
    with pytest.raises(ValueError, match="split 'val'"):
        schema.shard_path("root", "val", 0, 1)
    with pytest.raises(ValueError, match="shard 2"):
        schema.shard_path("root", "train", 2, 2)
