"""Records of others: what their features mean, and what is said of those that can't be used."""

import json
import pickle

import pytest
import tensorflow as tf
from pydantic import ValidationError

from model_patching.data.records_source import RecordFeatures, RecordsSource
from model_patching.data.source import BadRecord, SourceError, SourceImage

BIRDS = {"image": "img", "label": "y", "subgroup": "place", "example_id": "img_id"}


def example(**features):
    """A serialized record; features hold integers, texts or bytes."""
    made = tf.train.Example()
    for name, value in features.items():
        if isinstance(value, int):
            made.features.feature[name].int64_list.value.append(value)
        elif isinstance(value, float):
            made.features.feature[name].float_list.value.append(value)
        else:
            text = value if isinstance(value, bytes) else value.encode()
            made.features.feature[name].bytes_list.value.append(text)
    return made.SerializeToString()


def write(path, *records):
    """Writes a TFRecord file, gzip if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for record in records:
            writer.write(record)


@pytest.fixture
def folder(tmp_path):
    """A folder with a record in each split, and with files of each kind of name."""
    folder = tmp_path / "birds"
    bird = example(img=b"I", y=1, place=0, img_id=7)
    write(folder / "train/a.tfrecord-00001-of-00002", bird)
    write(folder / "train/a.tfrecord-00000-of-00002", bird)
    write(folder / "val/b.tfrecord.gz", bird)
    write(folder / "test/c.tfrec", bird)
    write(folder / "test/.c.tfrec", b"not a record")
    write(folder / "test/notes.txt", b"not a record")
    return folder


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(2, 3)


def source(folder, dataset, **features):
    return RecordsSource(folder, RecordFeatures.model_validate_json(json.dumps(features)), dataset)


def test_parts_are_the_record_files_of_every_split(folder, dataset):
    assert source(folder, dataset, **BIRDS).parts() == [
        "train/a.tfrecord-00000-of-00002",
        "train/a.tfrecord-00001-of-00002",
        "val/b.tfrecord.gz",
        "test/c.tfrec",
    ]


def test_plain_and_gzip_files_are_read_with_and_without_bytes(folder, dataset):
    birds = pickle.loads(pickle.dumps(source(folder, dataset, **BIRDS)))
    for part, split in (("val/b.tfrecord.gz", "validation"), ("test/c.tfrec", "test")):
        expected = SourceImage(split, 1, 0, "7", f"{folder / part}, record 0", b"I")
        assert list(birds.read(part)) == [expected]
        assert [(image.split, image.example_id, image.image) for image in birds.survey(part)] == [
            (split, "7", b"")
        ]
    assert birds.name == "birds"


def test_features_that_are_kept(tmp_path, dataset):
    for split in ("train", "validation", "test"):
        write(
            tmp_path / split / "a.tfrec",
            example(img=b"I", y=1, place=0, img_id=7, camera="Leica", iso=400),
            example(img=b"I", y=1, place=0, img_id=8, iso=100),
            example(img=b"I", y=1, place=0, img_id=9, iso=0.5),
        )
    found = list(source(tmp_path, dataset, **BIRDS, keep=["camera", "iso"]).read("test/a.tfrec"))
    assert [one.further for one in found[:2]] == [{"camera": "Leica", "iso": 400}, {"iso": 100}]
    assert found[2].reason == "feature 'iso' must be int64_list, found float_list"
    with pytest.raises(ValidationError, match="'label' can't be kept"):
        source(tmp_path, dataset, keep=["label"])


def test_records_without_ids_are_named_by_file_and_number(folder, dataset):
    write(folder / "test" / "d.v2.tfrecords.gz", *[example(img=b"I", y=0, place=0)] * 2)
    birds = source(folder, dataset, **BIRDS | {"example_id": None})
    ids = {part: [image.example_id for image in birds.read(part)] for part in birds.parts()}
    assert ids == {
        "train/a.tfrecord-00000-of-00002": ["a.tfrecord-00000-of-00002-000000"],
        "train/a.tfrecord-00001-of-00002": ["a.tfrecord-00001-of-00002-000000"],
        "val/b.tfrecord.gz": ["b-000000"],
        "test/c.tfrec": ["c-000000"],
        "test/d.v2.tfrecords.gz": ["d.v2-000000", "d.v2-000001"],
    }


def test_labels_are_numbers_names_or_the_values_that_are_given(folder, dataset):
    path = folder / "train" / "a.tfrecord-00000-of-00002"
    write(path, example(image=b"", label="c1", subgroup="s2"), example(image=b"", label=-1, subgroup="s0"))

    def groups(**features):
        return [
            (image.label, image.subgroup) if isinstance(image, SourceImage) else image.reason
            for image in source(folder, dataset, **features).read("train/a.tfrecord-00000-of-00002")
        ]

    # A number out of range is named where everything is converted.
    assert groups() == [(1, 2), (-1, 0)]
    assert groups(label_values=[-1, "c1"], subgroup_values=["s2", "s1", "s0"]) == [(1, 0), (0, 2)]
    assert groups(label_values=[-1, 1]) == ["feature 'label' is 'c1', not one of -1, 1", (0, 0)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (example(y=1, place=0, img_id=7), "feature 'img' is missing"),
        (example(img=b"", place=0, img_id=7), "feature 'y' is missing"),
        (example(img=b"", y=1.0, place=0, img_id=7), "feature 'y' must be int64_list, found float_list"),
        (
            example(img=b"", y=1, place="sky", img_id=7),
            "feature 'place' is 'sky', not one of 's0', 's1', 's2'",
        ),
        (example(img=b"", y=1, place=0), "feature 'img_id' is missing"),
        (example(img=b"", y=1, place=0, img_id=b"\xff"), "feature 'img_id' is not UTF-8 text: b'\\xff'"),
        (b"\xff", "not a serialized tf.train.Example"),
    ],
)
def test_a_bad_record_is_named_and_the_next_is_read(folder, dataset, bad, reason):
    path = folder / "test" / "c.tfrec"
    write(path, example(img=b"", y=1, place=0, img_id=1), bad, example(img=b"", y=1, place=0, img_id="x"))
    first, second, third = source(folder, dataset, **BIRDS).survey("test/c.tfrec")
    assert (first.example_id, third.example_id) == ("1", "x")
    assert second == BadRecord(f"{path}, record 1", reason)


def test_the_inputs_are_settings_and_checksums_wherever_the_folder_lies(folder, dataset):
    before = source(folder, dataset, **BIRDS).inputs()
    moved = folder.rename(folder.parent / "moved")
    assert source(moved, dataset, **BIRDS).inputs() == before
    assert str(folder) not in json.dumps(before)
    write(moved / "test" / "c.tfrec", example(img=b"", y=0, place=0, img_id=7))
    changed = source(moved, dataset, **BIRDS).inputs()
    assert [part for part in before["files"] if before["files"][part] != changed["files"][part]] == [
        "test/c.tfrec"
    ]


def test_a_split_without_files_is_named(folder, dataset):
    (folder / "val" / "b.tfrecord.gz").unlink()
    with pytest.raises(SourceError) as caught:
        source(folder, dataset).parts()
    places = f"{folder}/validation and {folder}/val"
    assert str(caught.value) == f"{places}: no files *.tfrecord*, *.tfrec, *.tfrec.gz"


def test_values_that_cannot_be_right_are_refused(dataset):
    with pytest.raises(ValidationError, match="label_values: the values must differ"):
        RecordFeatures(label_values=("a", "a"))
    with pytest.raises(ValueError, match="features.subgroup_values: there are 2 for the 3 of s0, s1, s2"):
        RecordFeatures(subgroup_values=(0, 1)).check_dataset(dataset)
