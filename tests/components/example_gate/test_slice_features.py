"""Features that an evaluation is to be sliced by."""

import pytest
import tensorflow as tf

from model_patching.components.example_gate.slice_features import check_slice_features
from model_patching.data import schema
from model_patching.data.schema import Record


@pytest.fixture
def path(tmp_path, write_records):
    """150 records; the first has no camera."""

    def further(number):
        features = {"iso": schema.feature(100 * (number % 3)), "file": schema.feature(f"{number}.jpg")}
        features["angle"] = tf.train.Feature(float_list=tf.train.FloatList(value=[0.5]))
        if number:
            features["camera"] = schema.feature("Leica")
        return features

    records = [Record(b"", 0, 0, f"r{number}", further=further(number)) for number in range(150)]
    return write_records(tmp_path / "a.gz", records)


def refused(path, *slices):
    """What is wrong, without the words that all lines begin with."""
    lines = check_slice_features("test", [path], slices)
    assert all(line.startswith("evaluation.slices: ") for line in lines)
    return [line.removeprefix("evaluation.slices: ") for line in lines]


def test_features_to_slice_by(path):
    assert refused(path, ["camera"], ["iso"], ["camera", "subgroup"], ["label", "iso", "camera"]) == []


def test_nothing_is_read_for_no_feature():
    assert check_slice_features("test", ["not there"], []) == []


def test_features_that_can_not_be_sliced_by_are_named(path):
    assert refused(path, ["lens"], ["angle"], ["iso", "camera"], ["file"], ["subgroup", "file"]) == [
        "feature 'lens' of the test split isn't in the records; beside label and subgroup there are 'angle', 'camera', "
        "'file', 'iso'",
        "feature 'angle' of the test split isn't one text or integer in record 'r0'",
        "[file] would give more than 100 slices of the test split",
        "[subgroup, file] would give more than 100 slices of the test split",
    ]


def test_records_without_further_features(tmp_path, write_records):
    path = write_records(tmp_path / "a.gz", [Record(b"", 0, 0, "r")])
    assert refused(path, ["lens"]) == [
        "feature 'lens' of the test split isn't in the records; beside label and subgroup there is none"
    ]


def test_values_that_differ_in_kind_or_are_not_there(tmp_path, write_records):
    latin = tf.train.Feature(bytes_list=tf.train.BytesList(value=["Zeiß".encode("latin-1")]))
    further = [
        {"lens": schema.feature("Zeiß"), "iso": schema.feature(100), "place": tf.train.Feature()},
        {"lens": latin, "iso": schema.feature("100"), "place": tf.train.Feature()},
        {"iso": tf.train.Feature(), "flash": tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 2]))},
    ]
    records = [Record(b"", 0, 0, f"r{number}", further=features) for number, features in enumerate(further)]
    path = write_records(tmp_path / "a.gz", records)
    assert refused(path, ["lens", "iso"], ["place"], ["flash"]) == [
        "feature 'lens' of the test split isn't UTF-8 text in record 'r1'",
        "feature 'iso' of the test split is a text in some records and an integer in others, such as 'r1'",
        "feature 'place' of the test split has no value in any record",
        "feature 'flash' of the test split isn't one text or integer in record 'r2'",
    ]


@pytest.mark.parametrize("values, fine", [(10, True), (11, False)])
def test_combinations_are_slices(tmp_path, write_records, values, fine):
    records = [
        Record(b"", 0, 0, f"{a}-{b}", further={"a": schema.feature(a), "b": schema.feature(str(b))})
        for a in range(values)
        for b in range(10)
    ]
    path = write_records(tmp_path / "a.gz", records)
    says = ["[a, b] would give more than 100 slices of the test split"]
    assert refused(path, ["a"], ["a", "b"]) == ([] if fine else says)
