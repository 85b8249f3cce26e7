"""What a record is on disk: a `tf.train.Example` in a gzip TFRecord.

| feature          | type       | meaning                                                              |
|------------------|------------|----------------------------------------------------------------------|
| `image`          | bytes      | PNG or JPEG, one size and channel count per data set                 |
| `label`          | int64      | class y, 0 ... C-1                                                   |
| `subgroup`       | int64      | subgroup z, 0 ... K-1                                                |
| `example_id`     | bytes      | stable and unique in its split; ties a patched example to its source |
| `patched_images` | bytes x K  | after the Augmenter: entry z is the image rendered in subgroup z     |

A record may have further features of any type. Nothing is trained on them; evaluations can be sliced by them.

Everything that reads or writes a record goes through this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from model_patching.data.dataset import (
    EXAMPLE_ID,
    IMAGE,
    LABEL,
    PATCHED_IMAGES,
    RECORD_FEATURES,
    SPLITS,
    SUBGROUP,
    Dataset,
)

COMPRESSION = "GZIP"
# Images are compressed already: more than the least compression costs time and saves next to nothing.
LIGHT_COMPRESSION = tf.io.TFRecordOptions(compression_type=COMPRESSION, compression_level=1)


class RecordError(ValueError):
    """A serialized record isn't what the table above says. The message is one line."""


@dataclass(frozen=True)
class Record:
    """One example, its images still encoded as PNG or JPEG. `patched_images` is empty before the Augmenter.

    `further` has the features that aren't in the table above, by name.
    """

    image: bytes
    label: int
    subgroup: int
    example_id: str
    patched_images: tuple[bytes, ...] = ()
    further: Mapping[str, tf.train.Feature] = field(default_factory=dict)


def serialize(record: Record) -> bytes:
    """Serializes a record as a `tf.train.Example`; equal records give equal bytes."""
    example = tf.train.Example()
    features = example.features.feature
    features[IMAGE].bytes_list.value.append(record.image)
    features[LABEL].int64_list.value.append(record.label)
    features[SUBGROUP].int64_list.value.append(record.subgroup)
    features[EXAMPLE_ID].bytes_list.value.append(record.example_id.encode())
    if record.patched_images:
        features[PATCHED_IMAGES].bytes_list.value.extend(record.patched_images)
    for name, feature in record.further.items():
        features[name].CopyFrom(feature)
    # Protobuf maps have no order of their own: without this, equal records may differ in bytes.
    return example.SerializeToString(deterministic=True)


def deserialize(serialized: bytes) -> Record:
    """Reads a serialized `tf.train.Example` back into a record. Images aren't decoded.

    Raises:
        RecordError: not a `tf.train.Example`, or a feature is missing, of another type or of another length.
    """
    example = to_example(serialized)
    example_id = single_value(example, EXAMPLE_ID, "bytes_list")
    try:
        decoded_id = example_id.decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"feature '{EXAMPLE_ID}' is not UTF-8 text: {example_id!r}") from error
    try:
        patched: tuple[bytes, ...] = ()
        if PATCHED_IMAGES in example.features.feature:
            patched = tuple(_values(example, PATCHED_IMAGES, "bytes_list"))
        return Record(
            image=single_value(example, IMAGE, "bytes_list"),
            label=single_value(example, LABEL, "int64_list"),
            subgroup=single_value(example, SUBGROUP, "int64_list"),
            example_id=decoded_id,
            patched_images=patched,
            further={
                name: feature
                for name, feature in example.features.feature.items()
                if name not in RECORD_FEATURES
            },
        )
    except RecordError as error:
        raise RecordError(f"record '{decoded_id}': {error}") from None


def to_example(serialized: bytes) -> tf.train.Example:
    """Reads a serialized `tf.train.Example`, of this project or of others.

    Raises:
        RecordError: it is something else.
    """
    try:
        return tf.train.Example.FromString(serialized)
    except Exception as error:  # protobuf's DecodeError, another class in each of its implementations
        raise RecordError("not a serialized tf.train.Example") from error


def feature(value: int | str) -> tf.train.Feature:
    """A feature with one value, an integer or a text."""
    if isinstance(value, str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def parse(serialized: tf.Tensor, dataset: Dataset, patched: bool) -> dict[str, tf.Tensor]:
    """Parses serialized records inside a graph; the images stay encoded.

    Args:
        serialized: string, scalar or [n].
        dataset: says how many patched images a record carries.
        patched: whether to read `patched_images`; a record without them is then an error.

    Returns:
        For a scalar: `image` string [], `label` int64 [], `subgroup` int64 [], `example_id` string [], and with
        `patched` also `patched_images` string [K]. For a batch each has a leading dimension n.

    Raises:
        tf.errors.InvalidArgumentError: a feature is missing, of another type or of another length.
    """
    features = {
        IMAGE: tf.io.FixedLenFeature([], tf.string),
        LABEL: tf.io.FixedLenFeature([], tf.int64),
        SUBGROUP: tf.io.FixedLenFeature([], tf.int64),
        EXAMPLE_ID: tf.io.FixedLenFeature([], tf.string),
    }
    if patched:
        features[PATCHED_IMAGES] = tf.io.FixedLenFeature([dataset.num_subgroups], tf.string)
    return tf.io.parse_example(serialized, features)


def decode_image(encoded: tf.Tensor, dataset: Dataset) -> tf.Tensor:
    """Decodes one PNG or JPEG inside a graph.

    Args:
        encoded: string [].
        dataset: says the shape that the image must have.

    Returns:
        uint8 [H, W, C], with that static shape.

    Raises:
        tf.errors.InvalidArgumentError: not an image, or one of another size or channel count; the message has
            both shapes.
    """
    return tf.ensure_shape(tf.io.decode_image(encoded, expand_animations=False), dataset.image_shape)


def to_float(image: tf.Tensor) -> tf.Tensor:
    """Maps uint8 0 ... 255 to float32 -1 ... 1, the range that every network here works in; any shape."""
    return tf.cast(image, tf.float32) / 127.5 - 1.0


def to_uint8(image: tf.Tensor) -> tf.Tensor:
    """Inverse of `to_float`: float32 -1 ... 1 to uint8, rounded; values outside are clipped. Any shape."""
    scaled = tf.round((image + 1.0) * 127.5)
    return tf.cast(tf.clip_by_value(scaled, 0.0, 255.0), tf.uint8)


def encode_png(image: tf.Tensor) -> tf.Tensor:
    """Encodes uint8 [H, W, C] or [n, H, W, C] as PNG inside a graph; returns string [] or [n]."""
    return tf.io.encode_png(image)


def read_records(paths: Sequence[str | Path]) -> tf.data.Dataset:
    """Serialized records (string []) of gzip TFRecord files, file after file in the order given."""
    return tf.data.TFRecordDataset([str(path) for path in paths], compression_type=COMPRESSION)


def shard_path(root: str | Path, split: str, index: int, count: int) -> Path:
    """Where shard `index` of `count` of a split is: `<root>/<split>/data-00000-of-0000N.tfrecord.gz`."""
    if split not in SPLITS:
        raise ValueError(f"split '{split}' is not one of {', '.join(SPLITS)}")
    return Path(root) / split / shard_name(index, count)


def shard_name(index: int, count: int) -> str:
    """File name of shard `index` of `count`, without its folder."""
    if not 0 <= index < count:
        raise ValueError(f"shard {index} is not one of {count}")
    return f"data-{index:05d}-of-{count:05d}.tfrecord.gz"


def single_value(example: tf.train.Example, name: str, kind: str) -> bytes | int | float:
    """The one value of a feature.

    Args:
        example: a record, of this project or of others.
        name: of the feature.
        kind: field of `tf.train.Feature` that it must have: "bytes_list", "int64_list" or "float_list".

    Raises:
        RecordError: the feature is missing, of another type or of another length.
    """
    values = _values(example, name, kind)
    if len(values) != 1:
        raise RecordError(f"feature '{name}' must have one value, found {len(values)}")
    return values[0]


def _values(example: tf.train.Example, name: str, kind: str) -> Sequence:
    """Values of a feature whose type must be `kind`, a field of `tf.train.Feature`."""
    if name not in example.features.feature:
        raise RecordError(f"feature '{name}' is missing")
    feature = example.features.feature[name]
    found = feature.WhichOneof("kind")
    if found != kind:
        raise RecordError(f"feature '{name}' must be {kind}, found {found or 'no value'}")
    return getattr(feature, kind).value
