import re

import pytest
import tensorflow as tf

from model_patching.components.augmenter import source
from model_patching.components.augmenter.source import places, read
from model_patching.data import schema
from model_patching.data.schema import Record, RecordError


def without_feature(name):
    example = tf.train.Example.FromString(schema.serialize(Record(b"i", 0, 0, "x")))
    del example.features.feature[name]
    return example.SerializeToString()


def with_id(example_id):
    example = tf.train.Example.FromString(schema.serialize(Record(b"i", 0, 0, "x")))
    example.features.feature["example_id"].bytes_list.value[:] = [example_id]
    return example.SerializeToString()


@pytest.fixture
def good():
    return [Record(b"image", number % 2, number // 2 % 2, f"example-{number}") for number in range(9)]


def test_records_come_in_order_with_what_decides_where_they_go(
    tmp_path, make_dataset, write_records, good, monkeypatch
):
    monkeypatch.setattr(source, "BATCH", 4)
    found = list(read(write_records(tmp_path / "file", good), make_dataset()))
    assert [schema.deserialize(record.serialized) for record in found] == good
    assert [(*record.group, record.example_id) for record in found] == [
        (record.label, record.subgroup, record.example_id) for record in good
    ]


@pytest.mark.parametrize(
    "bad, message",
    [
        (b"\xff", "not a serialized tf.train.Example"),
        (without_feature("image"), "record 'x': feature 'image' is missing"),
        (without_feature("label"), "record 'x': feature 'label' is missing"),
        (with_id(b"\xff"), r"feature 'example_id' is not UTF-8 text: b'\xff'"),
        (Record(b"i", 2, 0, "x"), "label 2 is not between 0 and 1"),
        (Record(b"i", 0, -1, "x"), "subgroup -1 is not between 0 and 1"),
    ],
    # A record's bytes come in another order in each process.
    ids=["nonsense", "no image", "no label", "bad id", "bad label", "bad subgroup"],
)
def test_a_bad_record_is_named(tmp_path, make_dataset, write_records, good, monkeypatch, bad, message):
    monkeypatch.setattr(source, "BATCH", 4)
    path = write_records(tmp_path / "file", [*good[:6], bad, *good[6:]])
    with pytest.raises(RecordError, match=f"^{path}, record 6: {re.escape(message)}$"):
        list(read(path, make_dataset()))


def test_places_of_an_id(tmp_path, make_dataset, write_records, good):
    first = write_records(tmp_path / "1", good)
    second = write_records(tmp_path / "2", good[4:5])
    assert places("example-4", [first, second], make_dataset()) == [(first, 4), (second, 0)]
    assert places("example-3", [second], make_dataset()) == []
