"""`data build waterbirds` and `celeba-undersampled`, on files in the published formats and the original ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from typer.testing import CliRunner

from model_patching.data import schema
from model_patching.data.celeba import Task
from model_patching.data.dataset import Dataset
from model_patching.pipelines import config
from model_patching.pipelines.cli import main

# Birds (split, y, place) in an order without order, and odd sizes of files.
BIRDS = [
    *[(2, 0, 0), (0, 0, 0), (0, 0, 0), (1, 1, 1), (0, 1, 1), (1, 0, 0), (0, 0, 1)],
    *[(2, 1, 0)],
    *[(0, 0, 0), (2, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 1), (0, 0, 0), (2, 1, 1), (0, 1, 1), (1, 1, 0)],
]
BIRDS_DATASET = Dataset(
    classes=("landbird", "waterbird"), subgroups=("land", "water"), image_shape=(224, 224, 3)
)
FILE_SIZES = [7, 1, 9]
BIRD_COUNTS = {
    "train": [[4, 1], [1, 3]],
    "validation": [[1, 1], [1, 1]],
    "test": [[1, 1], [1, 1]],
}
FACES = {
    "train": [
        set(),
        {"Male"},
        set(),
        {"Blond_Hair"},
        set(),
        set(),
        {"Blond_Hair", "Male"},
        set(),
        set(),
        set(),
    ],
    "val": [set(), {"Male"}, {"Blond_Hair"}, {"Blond_Hair", "Male"}, set()],
    "test": [{"Blond_Hair", "Male"}, {"Male"}, {"Blond_Hair"}, set()],
}
FACE_FILES = {"train": [3, 6, 1], "val": [5], "test": [1, 3]}


@pytest.fixture
def build(capfd):
    """Runs a `data build` command; returns its exit code and what it said on standard output and error."""

    def run(*arguments):
        capfd.readouterr()  # what TensorFlow says when the test first uses it
        result = CliRunner().invoke(main, ["data", "build", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        captured = capfd.readouterr()
        return result.exit_code, captured.out + result.stdout, captured.err + result.stderr

    return run


@pytest.fixture(scope="module")
def faces(tmp_path_factory, write_celeba):
    return write_celeba(tmp_path_factory.mktemp("celeba"), FACES, FACE_FILES)


def records(folder, split):
    paths = sorted((folder / split).iterdir())
    return [schema.deserialize(item) for item in schema.read_records(paths).as_numpy_iterator()]


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def ids(folder, split="train"):
    return [record.example_id for record in records(folder, split)]


def pixels(record):
    return tf.io.decode_image(record.image).numpy()


def test_waterbirds_from_the_published_records(tmp_path, write_waterbirds, one_colour, build):
    source = write_waterbirds(tmp_path / "waterbirds_tfrecord_224", BIRDS, FILE_SIZES)
    output = tmp_path / "records"
    code, said, _ = build("waterbirds", "--source", tmp_path, "--output", output, "--image-size", 8)
    assert code == 0
    assert manifest(output)["counts"] == BIRD_COUNTS
    assert manifest(output)["dataset"] == {
        "classes": ["landbird", "waterbird"],
        "subgroups": ["land", "water"],
        "image_shape": [8, 8, 3],
    }
    assert sorted(manifest(output)["inputs"]["source"]["files"]) == sorted(
        path.name for path in source.iterdir()
    )
    # A warning for each group, with the number that was found and the published one.
    assert "group 'waterbird / land' of train: 1 images, published are 56" in said
    assert len(manifest(output)["warnings"]) == 12

    starts = np.cumsum([0, *FILE_SIZES])
    names = [
        f"{number:02d}-{size}-{record:06d}"
        for number, size in enumerate(FILE_SIZES)
        for record in range(size)
    ]
    splits = ("train", "validation", "test")
    for number, split in enumerate(splits):
        of_split = {record.example_id: record for record in records(output, split)}
        expected = [bird for bird, (of_bird, _, _) in enumerate(BIRDS) if of_bird == number]
        assert set(of_split) == {names[bird] for bird in expected}
        for bird in expected:
            record = of_split[names[bird]]
            assert (record.label, record.subgroup) == BIRDS[bird][1:]
            assert record.image == one_colour(bird)  # its bytes are left as they are
    assert ids(output) != sorted(ids(output))

    order = np.load(output / "source_order.npz")
    assert order["parts"].tolist() == ["00-7.tfrec", "01-1.tfrec", "02-9.tfrec"]
    for part, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        expected = [split * 4 + label * 2 + place for split, label, place in BIRDS[start:end]]
        assert order[f"part_{part:05d}"].tolist() == expected


def test_published_records_are_cut_only_where_they_are_scaled(tmp_path, write_waterbirds, faces, build):
    birds = write_waterbirds(tmp_path / "birds", BIRDS, FILE_SIZES)
    for name, source in (("waterbirds", birds), ("celeba-undersampled", faces)):
        output = tmp_path / name
        arguments = (name, "--source", source, "--output", output, "--image-size", 4)
        code, _, error = build(*arguments, "--crop")
        assert code == 2 and not output.exists()
        assert error == (
            "--crop goes with --resize here: records' images are scaled only where that is asked for\n"
        )
        assert build(*arguments, "--crop", "--resize")[0] == 0
        assert manifest(output)["inputs"]["image"]["crop"] is True


def test_waterbirds_from_the_original_folder(tmp_path, build):
    folder = tmp_path / "waterbird_complete95_forest2water2"
    folder.mkdir()
    rows = ["img_id,img_filename,y,split,place,place_filename"]
    # Wide images, white in the middle half of their width.
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 255
    for number, (split, y, place) in enumerate(BIRDS):
        (folder / f"bird {number}.jpg").write_bytes(tf.io.encode_jpeg(wide, quality=100).numpy())
        rows.append(f"{number},bird {number}.jpg,{y},{split},{place},/p/{number}.jpg")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")

    arguments = ("waterbirds", "--source", folder, "--image-size", 8)
    assert build(*arguments, "--output", tmp_path / "scaled")[0] == 0
    assert build(*arguments, "--output", tmp_path / "cropped", "--crop")[0] == 0
    for name, dark_columns in (("scaled", [0, 1, 6, 7]), ("cropped", [])):
        assert manifest(tmp_path / name)["counts"] == BIRD_COUNTS
        assert not (tmp_path / name / "source_order.npz").exists()
        for record in records(tmp_path / name, "train"):
            image = pixels(record)
            assert image.shape == (8, 8, 3)
            dark = np.flatnonzero(image.mean(axis=(0, 2)) < 100)
            assert dark.tolist() == dark_columns
    assert {f"bird {number}.jpg" for number, (split, _, _) in enumerate(BIRDS) if split == 1} == set(
        ids(tmp_path / "scaled", "validation")
    )


def test_celeba_is_undersampled_by_the_seed(tmp_path, faces, build):
    def built(name, *arguments):
        arguments = ("--source", faces, "--output", tmp_path / name, "--image-size", 8, *arguments)
        assert build("celeba-undersampled", *arguments)[0] == 0
        return tmp_path / name

    few, again, other, whole = (
        built("few", "--take", "0,0=2", "--take", "0,1=5"),
        built("again", "--take", "0,1=5", "--take", "0,0=2"),
        built("other", "--take", "0,0=2", "--take", "0,1=5", "--seed", 2),
        built("whole", "--take", "none"),
    )
    women = {f"train/{place}" for place in ["00-3-000000", "00-3-000002", "01-6-000001", "01-6-000002"]}
    women |= {"train/01-6-000004", "train/01-6-000005", "train/02-1-000000"}
    rest = {"train/00-3-000001", "train/01-6-000000", "train/01-6-000003"}
    assert set(ids(whole)) == women | rest
    for folder in (few, other):
        assert rest < set(ids(folder)) < women | rest
        assert len(ids(folder)) == 5
        for split in ("validation", "test"):
            assert set(ids(folder, split)) == set(ids(whole, split))
    assert set(ids(few)) != set(ids(other))
    for split in ("train", "validation", "test"):
        (shard,) = (few / split).iterdir()
        assert shard.read_bytes() == (again / split / shard.name).read_bytes()
    assert manifest(few)["counts"] == {
        "train": [[2, 1], [1, 1]],
        "validation": [[2, 1], [1, 1]],
        "test": [[1, 1], [1, 1]],
    }
    group = "group 'not blond / female' of train"
    assert not [line for line in manifest(few)["warnings"] if line.startswith(group)]  # 2 are expected there
    assert f"{group}: 7 images, published are 71629" in manifest(whole)["warnings"]
    # All records are in the source's order, also those that weren't taken: published patches count them.
    order = np.load(few / "source_order.npz")
    assert order["parts"].tolist()[:3] == ["train/00-3.tfrec", "train/01-6.tfrec", "train/02-1.tfrec"]
    assert order["part_00000"].tolist() == [0, 1, 0]
    assert order["part_00004"].tolist() == [8 + 3]


def test_celeba_from_the_official_lists(tmp_path, build):
    """Of 178 x 218 px images, the middle 178 are kept."""
    images = tmp_path / "img_align_celeba"
    images.mkdir()
    tall = np.zeros((218, 178, 3), np.uint8)
    tall[20:198] = 255
    lines, partitions = [], []
    for number in range(12):
        name = f"{number + 1:06d}.jpg"
        (images / name).write_bytes(tf.io.encode_jpeg(tall, quality=100).numpy())
        lines.append(f"{name} {' 1' if number % 2 else '-1'} {' 1' if number % 4 > 1 else '-1'} -1")
        partitions.append(f"{name} {number // 4}")
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(["12", "Young Male Bald", *lines]) + "\n")
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(partitions) + "\n")
    code, said, _ = build(
        *("celeba-undersampled", "--source", tmp_path, "--output", tmp_path / "records"),
        *("--label", "Young", "--image-size", 16),
    )
    assert code == 0
    assert "warning" not in said  # for these attributes no counts are published
    built = manifest(tmp_path / "records")
    assert built["dataset"]["classes"] == ["not young", "young"]
    assert built["dataset"]["subgroups"] == ["female", "male"]
    assert set(map(str, built["counts"].values())) == {"[[1, 1], [1, 1]]"}
    for record in records(tmp_path / "records", "test"):
        assert pixels(record).shape == (16, 16, 3)
        assert pixels(record).min() > 200


def cut_off(folder, examples):
    path = folder / "00.tfrec"
    path.write_bytes(path.read_bytes()[:-3])


def wrong_crc(folder, examples):
    path = folder / "00.tfrec"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("change", "damage", "says"),
    [
        (lambda of_record: of_record.pop("image"), None, "record 3: feature 'image' is missing"),
        (lambda of_record: of_record.update(y=7), None, "record 3: label 7 is not between 0 and 1"),
        (None, cut_off, "record 4: the file is cut off here"),
        (None, wrong_crc, "record 4: wrong checksum"),
    ],
)
def test_a_bad_published_file_is_named_and_nothing_is_left(
    tmp_path, write_tfrec, one_colour, build, change, damage, says
):
    examples = [{"image": one_colour(split), "y": 0, "place": 0, "split": split} for split in (0, 1, 2, 0, 1)]
    if change is not None:
        change(examples[3])
    path = write_tfrec(tmp_path / "source" / "00.tfrec", examples)
    if damage is not None:
        damage(tmp_path / "source", examples)
    arguments = ("waterbirds", "--source", path.parent, "--output", tmp_path / "records", "--image-size", 8)
    code, _, error = build(*arguments)
    assert code == 2
    (line,) = error.splitlines()
    assert line.startswith(f"{path}, {says}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


def test_a_bad_record_that_is_skipped_keeps_its_place_in_the_source_order(
    tmp_path, write_tfrec, one_colour, build
):
    attributes = [{"Blond_Hair": -1, "Male": 1}, {"Blond_Hair": 1}, {"Blond_Hair": 1, "Male": -1}]
    examples = [{"image": one_colour(0), **of_face} for of_face in attributes]
    for split in ("train", "val", "test"):
        write_tfrec(tmp_path / "source" / split / "00.tfrec", examples[:: 1 if split == "train" else 2])
    output = tmp_path / "records"
    arguments = ("--source", tmp_path / "source", "--output", output, "--image-size", 8, "--skip-bad", 1)
    code, said, _ = build("celeba-undersampled", *arguments)
    assert code == 0
    assert (
        f"skipped: {tmp_path}/source/train/00.tfrec, record 1: feature 'Male' is missing" in said.splitlines()
    )
    assert sorted(ids(output)) == ["train/00-000000", "train/00-000002"]
    assert np.load(output / "source_order.npz")["part_00000"].tolist() == [1, -1, 2]


def test_an_image_of_another_size_is_a_sign_of_damage(tmp_path, write_waterbirds, one_colour, build):
    source = write_waterbirds(tmp_path / "source", BIRDS, FILE_SIZES)
    arguments = ("waterbirds", "--source", source, "--output", tmp_path / "records", "--image-size", 4)
    code, _, error = build(*arguments)
    assert code == 2
    assert (
        "image of another size: found 8 × 8 pixels, expected 4 × 4; to scale it: --resize or data.image.resize"
        in error
    )
    assert build(*arguments, "--resize")[0] == 0
    assert {pixels(record).shape for record in records(tmp_path / "records", "train")} == {(4, 4, 3)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["waterbirds"],
            "{source}: no Waterbirds there: expected *.tfrec files (waterbirds_tfrecord_224), or ",
        ),
        (
            ["celeba-undersampled", "--label", "Blond"],
            "CelebA has no attribute 'Blond': did you mean Blond_Hair",
        ),
        (
            ["celeba-undersampled", "--take", "2,0=5"],
            "--take 2,0=5: give label, subgroup and a number, for example",
        ),
        (
            ["celeba-undersampled", "--take", "0,0=0"],
            "--take 0,0=0: give label, subgroup and a number, for example",
        ),
        (
            ["celeba-undersampled", "--take", "none", "--take", "0,0=5"],
            "--take none: give label, subgroup and ",
        ),
        (
            ["celeba-undersampled", "--take", "0,1=4", "--take", "0,1=5"],
            "--take 0,1=5: the group 0,1 comes twice",
        ),
        (
            ["celeba-undersampled"],
            "{source}: no CelebA there: expected train/, val/, test/ with *.tfrec files",
        ),
    ],
)
def test_wrong_arguments(tmp_path, build, arguments, says):
    source = tmp_path / "source"
    source.mkdir()
    code, _, error = build(*arguments, "--source", source, "--output", tmp_path / "records")
    assert code == 2
    (line,) = error.splitlines()
    assert line.startswith(says.format(source=source))
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    ("data_set", "command", "dataset"),
    [
        ("waterbirds", "waterbirds", BIRDS_DATASET),
        ("celeba_undersampled", "celeba-undersampled", Task().dataset),
    ],
)
def test_the_presets_take_the_records_that_are_built(data_set, command, dataset):
    names = [name for name in config.preset_names() if name.startswith(data_set)]
    assert len(names) == 4
    for name in names:
        text = (Path(config.__file__).parent / "configs" / f"{name}.yaml").read_text()
        data = yaml.safe_load(text)["data"]
        assert Dataset.model_validate_json(json.dumps(data["dataset"])) == dataset
        assert f"model-patching data build {command} --download --output {data['records']} " in text
