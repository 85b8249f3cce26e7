"""Reading of `*.tfrec` files, by the example of Waterbirds; each way in which they can be bad."""

import pytest
import tensorflow as tf

from model_patching.data import build
from model_patching.data.convert import convert
from model_patching.data.source import BadRecord, SourceError
from model_patching.data.waterbirds import waterbirds

BIRDS = [(0, 0, 0), (1, 1, 0), (2, 0, 1), (0, 1, 1), (1, 0, 0)]


@pytest.fixture
def folder(tmp_path, write_waterbirds):
    return write_waterbirds(tmp_path / "waterbirds", BIRDS, [3, 2])


def test_a_survey_is_what_is_read_without_the_images(folder):
    source = waterbirds(folder)
    assert source.parts() == ["00-3.tfrec", "01-2.tfrec"]
    read = [image for part in source.parts() for image in source.read(part)]
    surveyed = [image for part in source.parts() for image in source.survey(part)]
    assert [image.example_id for image in read] == [
        "00-3-000000",
        "00-3-000001",
        "00-3-000002",
        "01-2-000000",
        "01-2-000001",
    ]
    assert [(image.split, image.label, image.subgroup) for image in read] == [
        ("train", 0, 0),
        ("validation", 1, 0),
        ("test", 0, 1),
        ("train", 1, 1),
        ("validation", 0, 0),
    ]
    assert read[4].place == f"{folder}/01-2.tfrec, record 1"
    for found, without_image in zip(read, surveyed, strict=True):
        assert found.image.startswith(b"\xff\xd8")
        assert without_image.image == b""
        assert (found.example_id, found.place) == (without_image.example_id, without_image.place)


def test_inputs_tell_what_is_read_but_not_from_where(folder, tmp_path):
    inputs = waterbirds(folder).inputs()
    moved = folder.rename(tmp_path / "elsewhere")
    assert waterbirds(moved).inputs() == inputs
    assert waterbirds(moved, image_size=64).inputs() != inputs
    changed = moved / "01-2.tfrec"
    changed.write_bytes(changed.read_bytes()[:-1])
    files = waterbirds(moved).inputs()["files"]
    assert files["00-3.tfrec"] == inputs["files"]["00-3.tfrec"]
    assert files["01-2.tfrec"] != inputs["files"]["01-2.tfrec"]


def test_the_code_of_all_of_the_reader_counts(folder, tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(build, "source_hash", lambda files: hashed.extend(path.name for path in files))
    monkeypatch.setattr(build, "build_folder", lambda folder, inputs, write: {"skipped": []})
    convert(waterbirds(folder), tmp_path / "records", seed=1)
    readers = {"waterbirds.py", "published_records.py", "listed_images.py", "csv_rows.py", "record_files.py"}
    assert readers | {"source.py", "convert.py", "layout.py"} < set(hashed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda features: features.pop("image"), "feature 'image' is missing"),
        (lambda features: features.pop("place"), "feature 'place' is missing"),
        (lambda features: features.update(y=b"1"), "feature 'y' must be int64_list, found bytes_list"),
        (
            lambda features: features.update(split=3),
            "split 3 is not 0 (train), 1 (validation) or 2 (test)",
        ),
    ],
)
def test_a_bad_record_is_named_and_the_next_ones_are_read(tmp_path, write_tfrec, one_colour, change, reason):
    examples = [{"image": one_colour(0), "y": 0, "split": 0, "place": 0} for _ in range(3)]
    change(examples[1])
    path = write_tfrec(tmp_path / "00-3.tfrec", examples)
    first, bad, last = waterbirds(tmp_path).read("00-3.tfrec")
    assert bad.place == f"{path}, record 1"
    assert reason in bad.reason
    assert (first.example_id, last.example_id) == ("00-3-000000", "00-3-000002")
    assert list(waterbirds(tmp_path).survey("00-3.tfrec"))[1] == bad


def test_something_else_than_an_example_is_a_bad_record(tmp_path, write_tfrec):
    with tf.io.TFRecordWriter(str(tmp_path / "00-1.tfrec")) as writer:
        writer.write(b"not an example")
    (bad,) = waterbirds(tmp_path).survey("00-1.tfrec")
    assert isinstance(bad, BadRecord)
    assert bad.place == f"{tmp_path}/00-1.tfrec, record 0"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: content[:-3], "record 2: the file is cut off here"),
        (lambda content: content[:-20] + b"#" + content[-19:], "record 2: wrong checksum"),
    ],
)
def test_a_damaged_file_is_named(folder, damage, says):
    path = folder / "00-3.tfrec"
    path.write_bytes(damage(path.read_bytes()))
    source = waterbirds(folder)
    with pytest.raises(SourceError) as error:
        list(source.survey("00-3.tfrec"))
    assert f"{path}, {says}" in str(error.value)
    assert "\n" not in str(error.value)
