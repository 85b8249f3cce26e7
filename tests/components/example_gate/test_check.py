"""What is said of a split that can't be trained on."""

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2

from model_patching.components.example_gate.check import check_split
from model_patching.data.schema import Record

NONE = anomalies_pb2.Anomalies()


def records(*groups, start=0):
    """A record of each (label, subgroup), named r0, r1, …"""
    return [
        Record(b"", label, subgroup, f"r{start + number}") for number, (label, subgroup) in enumerate(groups)
    ]


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(2, 3)


def test_groups_are_counted_over_all_files(tmp_path, write_records, dataset):
    groups = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 2)]
    paths = [
        write_records(tmp_path / "b.gz", records(*groups)),
        write_records(tmp_path / "a.gz", records((0, 1), (1, 2), start=10)),
    ]
    counts, mistakes = check_split("train", paths, NONE, dataset, at_least=1)
    assert counts.tolist() == [[1, 2, 1], [1, 1, 3]]
    assert mistakes == []


def test_groups_that_are_missing_or_too_small_are_named(tmp_path, write_records, dataset):
    paths = [write_records(tmp_path / "a.gz", records((0, 0), (0, 0), (0, 1), (1, 0), (1, 1), (1, 1)))]
    _, mistakes = check_split("validation", paths, NONE, dataset, at_least=2)
    assert mistakes == [
        "group 'c0 / s1' has 1 of 2 examples in the validation split (data.min_examples_per_group.validation)",
        "group 'c0 / s2' has no example in the validation split",
        "group 'c1 / s0' has 1 of 2 examples in the validation split (data.min_examples_per_group.validation)",
        "group 'c1 / s2' has no example in the validation split",
    ]
    assert check_split("test", paths, NONE, dataset, at_least=0)[1] == []


def test_an_id_that_comes_twice_is_named_with_both_places(tmp_path, write_records, dataset):
    every_group = [(label, subgroup) for label in range(2) for subgroup in range(3)]
    first = write_records(tmp_path / "a.gz", records(*every_group))
    second = write_records(tmp_path / "b.gz", records((0, 0), (0, 1), (0, 0), start=4))  # r4, r5, r6
    _, mistakes = check_split("test", [second, first], NONE, dataset, at_least=1)
    assert mistakes == [
        f"example_id 'r4' comes twice in the test split, in {first}, record 4 and {second}, record 0"
        " (one of 2 such ids)"
    ]
    within = write_records(tmp_path / "c.gz", records(*every_group) + records((1, 1)))
    _, mistakes = check_split("test", [within], NONE, dataset, at_least=1)
    assert mistakes == [
        f"example_id 'r0' comes twice in the test split, in {within}, record 0 and {within}, record 6"
    ]


def test_ids_that_share_a_hash_are_no_mistake(tmp_path, write_records, dataset, monkeypatch):
    monkeypatch.setattr("model_patching.data.groups.id_hash", lambda example_id: 7)
    path = write_records(tmp_path / "a.gz", records((0, 0), (0, 1)))
    assert check_split("test", [path], NONE, dataset, at_least=0)[1] == []


def test_anomalies_come_in_tfdvs_words_beside_the_first_bad_record(tmp_path, write_records, dataset):
    anomalies = anomalies_pb2.Anomalies()
    anomalies.anomaly_info["subgroup"].description = "Some examples have\n more values"
    anomalies.anomaly_info["label"].short_description = "Out-of-range values"
    anomalies.anomaly_info["label"].description = "Unexpectedly large value: 7."
    anomalies.dataset_anomaly_info.description = "Too few"
    path = write_records(tmp_path / "a.gz", records((0, 0), (7, 0)))
    counts, mistakes = check_split("train", [path], anomalies, dataset, at_least=1)
    assert counts is None
    assert mistakes == [
        "feature 'label' of the train split: Unexpectedly large value: 7.",
        "feature 'subgroup' of the train split: Some examples have more values",
        "the whole of the train split: Too few",
        f"{path}: record 1, 'r1': label 7, but the data set has 2 classes",
    ]


def test_an_empty_split(tmp_path, write_records, dataset):
    missing = anomalies_pb2.Anomalies(data_missing=True)
    path = write_records(tmp_path / "a.gz", [])
    for paths in ([], [path]):
        assert check_split("test", paths, missing, dataset, at_least=1) == (
            None,
            ["the test split has no examples"],
        )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"no example", "record 1: Could not parse example input"),
        (tf.train.Example().SerializeToString(), "record 1: Feature: example_id"),
    ],
)
def test_a_bad_record_is_named(tmp_path, write_records, dataset, bad, message):
    path = write_records(tmp_path / "a.gz", [*records((0, 0)), bad])
    counts, (mistake,) = check_split("train", [path], NONE, dataset, at_least=1)
    assert counts is None
    assert mistake.startswith(f"{path}: {message}")


def test_an_id_that_is_no_text_is_named(tmp_path, write_records, dataset):
    example = tf.train.Example()
    example.features.feature["image"].bytes_list.value.append(b"")
    example.features.feature["label"].int64_list.value.append(0)
    example.features.feature["subgroup"].int64_list.value.append(0)
    example.features.feature["example_id"].bytes_list.value.append(b"\xff")
    path = write_records(tmp_path / "a.gz", [*records((0, 0)), example.SerializeToString()])
    _, mistakes = check_split("train", [path], NONE, dataset, at_least=1)
    assert mistakes == [f"{path}: record 1: example_id b'\\xff' is not UTF-8 text"]
