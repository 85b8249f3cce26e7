import json

import pytest

from model_patching.data import schema
from model_patching.data.overview import find_files, overview
from model_patching.data.source import SourceError

SHAPE = (6, 4, 3)
COUNTS = {"train": ((4, 1), (2, 3)), "validation": ((1, 1), (0, 2)), "test": ((1, 2), (2, 1))}


@pytest.fixture
def folder(tmp_path, write_records, toy_records):
    """Built records in files of two splits' names, the training records in two files."""
    for number, (split, counts) in enumerate(COUNTS.items()):
        records = toy_records(counts, SHAPE, seed=number)
        shards = 2 if split == "train" else 1
        for shard in range(shards):
            write_records(schema.shard_path(tmp_path / "sets", split, shard, shards), records[shard::shards])
    return tmp_path / "sets"


def name(folder, **changes):
    dataset = {"classes": ["cat", "dog"], "subgroups": ["day", "night"], "image_shape": SHAPE, **changes}
    (folder / "manifest.json").write_text(json.dumps({"dataset": dataset}))


def test_a_built_folder_is_counted_and_sampled(folder):
    name(folder)
    found = overview(folder, "train", 2)
    assert list(found.counts) == ["train", "validation", "test"]
    assert found.counts == {split: [list(row) for row in counts] for split, counts in COUNTS.items()}
    assert found.dataset.group_names == ("cat / day", "cat / night", "dog / day", "dog / night")
    assert [len(of_group) for of_group in found.samples] == [2, 1, 2, 2]
    for group, records in enumerate(found.samples):
        assert {(record.label, record.subgroup) for record in records} == {divmod(group, 2)}


def test_without_a_manifest_classes_and_subgroups_are_numbers(folder):
    found = overview(folder, "validation", 5)
    assert found.dataset.group_names[1] == "class 0 / subgroup 1"
    assert found.dataset.image_shape == SHAPE
    assert [len(of_group) for of_group in found.samples] == [1, 1, 0, 2]
    (folder / "manifest.json").write_text(
        '{"inputs": {"dataset": "mnist_correlation"}}'
    )  # of an earlier version
    assert overview(folder, "train", 1).dataset == found.dataset


def test_one_split_alone_has_the_names_beside_it(folder):
    name(folder)
    found = overview(folder / "test", "test", 1)
    assert found.counts == {"test": [[1, 2], [2, 1]]}
    assert found.dataset.classes == ("cat", "dog")


def test_an_artifact_of_patched_examples(tmp_path, write_records, toy_records, make_dataset):
    for split, counts in (("train", ((2, 1, 0), (1, 2, 0))), ("eval", ((1, 1, 0), (1, 1, 0)))):
        records = toy_records(counts, SHAPE, patched=True)
        write_records(tmp_path / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz", records)
    found = overview(tmp_path, "train", 9)
    assert list(found.counts) == ["train", "eval"]
    assert found.counts["train"] == [[2, 1, 0], [1, 2, 0]]  # three renditions tell of a third subgroup
    assert all(len(record.patched_images) == 3 for of_group in found.samples for record in of_group)
    assert list(overview(tmp_path / "Split-eval", "eval", 1).counts) == ["eval"]
    assert overview(tmp_path, "train", 9, make_dataset(2, 3)).dataset == make_dataset(2, 3)


def test_a_description_that_does_not_fit_is_refused(folder, write_records, toy_records):
    name(folder)
    write_records(folder / "train" / "more.gz", toy_records(((1, 0), (0, 0), (0, 1)), (6, 6, 3)))
    with pytest.raises(
        SourceError, match=f"^{folder}: .* classes cat, dog .*: label 2 is not between 0 and 1$"
    ):
        overview(folder, "train", 1)


def test_what_is_no_folder_of_records_is_refused(tmp_path, write_records):
    with pytest.raises(SourceError, match=f"^{tmp_path}/nothing: there is no such folder$"):
        find_files(tmp_path / "nothing")
    (tmp_path / "train").mkdir()
    with pytest.raises(SourceError, match=f"^{tmp_path}: no records there: expected files that end with .gz"):
        find_files(tmp_path)
    write_records(tmp_path / "train" / "a.tfrecord.gz", [])
    with pytest.raises(SourceError, match=f"^{tmp_path}: its files have no records$"):
        overview(tmp_path, "train", 1)


@pytest.mark.parametrize(
    "damage, message",
    [
        (None, "record 1: not a serialized tf.train.Example"),
        (lambda content: content[:-4], "record 1: the file is cut off here"),
        (lambda content: b"no TFRecord and no gzip either", "record 0: wrong checksum: "),
    ],
)
def test_a_damaged_record_is_named(tmp_path, write_records, toy_records, damage, message):
    path = tmp_path / "train" / "a.tfrecord.gz"
    (record,) = toy_records(((1, 0), (0, 0)), SHAPE)
    write_records(path, [record] if damage else [record, b"no example"])
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SourceError) as caught:
        overview(tmp_path, "train", 1)
    assert str(caught.value).startswith(f"{path}, {message}") and "\n" not in str(caught.value)
