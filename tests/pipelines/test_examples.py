"""What comes before the first training, done by the pipeline's own nodes and runner: to good and to bad examples."""

import json

import pytest
import tensorflow as tf

from model_patching.data import schema
from model_patching.pipelines.config import config_from_tree
from model_patching.pipelines.errors import NodeFailed
from model_patching.pipelines.pipeline import create_pipeline
from model_patching.pipelines.runner import LocalRunner


@pytest.fixture
def run(tmp_path, make_dataset, monkeypatch):
    """Runs the pipeline on the folder `records`; returns the error of the node that fails.

    That is the training in the end, which is a stand-in.
    """
    monkeypatch.setattr("model_patching.components.robust_trainer.component.RUN_FN", "nowhere.run_fn")

    def run(slices=(), **data):
        tree = {
            "root": str(tmp_path / "runs"),
            "data": {
                "records": str(tmp_path / "records"),
                "dataset": make_dataset(2, 2, (8, 8, 1)).model_dump(mode="json"),
                **data,
            },
            "training": {"method": "erm"},
            "evaluation": {"baseline": "none", "slices": list(slices)},
            "tracking": {"mode": "disabled"},
        }
        config = config_from_tree(tree, "test")
        with pytest.raises(NodeFailed) as caught:
            LocalRunner(config, "1").run(create_pipeline(config))
        return caught.value

    return run


@pytest.fixture
def write(tmp_path, write_records):
    """Writes the records of each split to the folder `records`."""

    def write(**splits):
        for split, records in splits.items():
            write_records(tmp_path / "records" / split / "data-00000-of-00001.tfrecord.gz", records)

    return write


def group_counts(tmp_path):
    (file,) = (tmp_path / "runs" / "model_patching" / "ExampleGate").glob("group_counts/*/group_counts.json")
    return json.loads(file.read_text())


def with_feature(record, **features):
    """A record with another integer feature, serialized."""
    example = tf.train.Example.FromString(schema.serialize(record))
    for name, value in features.items():
        example.features.feature[name].int64_list.value.append(value)
    return example.SerializeToString()


def test_every_mistake_is_told_before_any_training(run, write, toy_records, tmp_path):
    splits = {
        "train": toy_records([[3, 2, 0], [1, 2, 1]], (8, 8, 1)),  # subgroup 2 of 2, once
        "validation": toy_records([[2, 2], [0, 2]], (8, 8, 1)),
        "test": toy_records([[3, 3], [2, 3]], (8, 8, 1)),
    }
    splits["test"].append(splits["test"][0])
    write(**splits)
    failure = run(min_examples_per_group={"test": 3})
    assert failure.node == "ExampleGate"
    examples = tmp_path / "runs" / "model_patching" / "ExampleGen" / "examples" / "1"
    (train,), (test,) = (list((examples / f"Split-{split}").iterdir()) for split in ("train", "test"))
    for part in (
        "ExamplesRefused: feature 'subgroup' of the train split: Unexpectedly large value: 2.; ",
        f"; {train}: record ",
        "subgroup 2, but the data set has 2 subgroups; ",
        "; group 'c1 / s0' has no example in the validation split; ",
        f"; example_id '{splits['test'][0].example_id}' comes twice in the test split, in {test}, record ",
        "; group 'c1 / s0' has 2 of 3 examples in the test split (data.min_examples_per_group.test): correct ",
    ):
        assert part in failure.reason
    assert "\n" not in failure.reason


def test_an_empty_split_is_told_before_any_training(run, write, toy_records):
    records = toy_records([[3, 3], [3, 3]], (8, 8, 1))
    write(train=records, validation=[], test=records)
    failure = run()
    assert failure.node == "ExampleGate"
    assert failure.reason.startswith("ExamplesRefused: the validation split has no examples: correct ")


def test_good_records_with_features_of_their_own_go_on_to_the_training(run, write, toy_records, tmp_path):
    records = toy_records([[3, 4], [5, 6]], (8, 8, 1))
    strange = [with_feature(record, age=number) for number, record in enumerate(records)]
    write(train=strange, validation=records, test=records)
    assert run().node == "RobustTrainer"
    assert group_counts(tmp_path) == dict.fromkeys(("train", "validation", "test"), [[3, 4], [5, 6]])


def test_a_feature_to_slice_by_that_no_record_has_is_told_before_any_training(run, write, toy_records):
    records = toy_records([[3, 4], [5, 6]], (8, 8, 1))
    with_age = [with_feature(record, age=number) for number, record in enumerate(records)]
    write(train=with_age, validation=with_age, test=with_age)
    failure = run(slices=[["age"], ["label", "camera"]])
    assert failure.node == "ExampleGate"
    assert failure.reason.startswith(
        "ExamplesRefused: evaluation.slices: feature 'camera' of the test split isn't in the records; beside label and "
        "subgroup there are 'age': correct "
    )
    assert run(slices=[["age"]]).node == "RobustTrainer"


def renamed(records):
    """Records as others have them: texts for labels, numbers for ids."""
    for number, record in enumerate(records):
        example = tf.train.Example()
        features = example.features.feature
        features["img"].bytes_list.value.append(record.image)
        features["y"].bytes_list.value.append(("no", "yes")[record.label].encode())
        features["place"].int64_list.value.append(record.subgroup)
        features["img_id"].int64_list.value.append(number)
        yield example.SerializeToString()


FEATURES = {
    "image": "img",
    "label": "y",
    "subgroup": "place",
    "example_id": "img_id",
    "label_values": ["no", "yes"],
}


def test_records_with_features_of_other_names_are_converted_first(run, toy_records, tmp_path):
    for name in ("train/a.tfrec", "train/b.tfrec", "val/a.tfrec", "test/a.tfrec"):
        path = tmp_path / "records" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in renamed(toy_records([[1, 2], [3, 4]], (8, 8, 1))):
                writer.write(record)
    # Both files of the training split count their records from 0.
    failure = run(features=FEATURES)
    assert failure.node == "building records"
    a, b = (tmp_path / "records" / "train" / name for name in ("a.tfrec", "b.tfrec"))
    assert failure.reason == (
        f"SourceError: {b}, record 0: example_id '0' comes twice in split 'train', first in {a}, record 0"
    )
    assert not any((tmp_path / "runs" / "data").iterdir())

    assert run(features=FEATURES | {"example_id": None}).node == "RobustTrainer"
    assert group_counts(tmp_path) == {
        "train": [[2, 4], [6, 8]],
        "validation": [[1, 2], [3, 4]],
        "test": [[1, 2], [3, 4]],
    }
