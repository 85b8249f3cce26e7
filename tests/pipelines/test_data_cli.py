"""`model-patching data build folder`, from the command line to the records."""

import csv
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from model_patching.data import schema
from model_patching.data.dataset import SPLITS
from model_patching.pipelines.cli import main

NOBODY = 65534
OTHER_SIZE = (
    "image of another size: found 9 × 8 pixels, expected 8 × 8; to scale it: --resize or data.image.resize"
)


def encode(number, size=(8, 8), kind="PNG"):
    """Noise, so that it can't be compressed."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


class Birds:
    """A folder of images and its CSV file: three images of each group and split."""

    def __init__(self, folder: Path):
        self.images, self.csv_file, self.output = folder / "images", folder / "birds.csv", folder / "out"
        self.images.mkdir()
        self.rows = []
        for split in SPLITS:
            for group in range(4):
                for copy in range(3):
                    name = f"{split}-{group}-{copy}.png"
                    (self.images / name).write_bytes(encode(len(self.rows)))
                    self.rows.append([name, ["land", "water"][group // 2], ["dry", "wet"][group % 2], split])

    def build(self, *options: str, header=("filename", "bird", "place", "split")):
        with open(self.csv_file, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *self.rows])
        arguments = [
            "--images",
            self.images,
            "--csv",
            self.csv_file,
            "--label",
            "bird",
            "--subgroup",
            "place",
        ]
        if not any(option.startswith("--split") for option in options):
            arguments += ["--split", "split"]
        if "--output" not in options:
            arguments += ["--output", self.output]
        return CliRunner().invoke(main, ["data", "build", "folder", *map(str, arguments), *options])

    def left(self):
        """What is there besides the source."""
        return {path.name for path in self.output.parent.iterdir()} - {"images", "birds.csv"}


@pytest.fixture
def birds(tmp_path):
    return Birds(tmp_path)


def check_refused(birds, result, message):
    """Exit code 2, one line, and nothing left."""
    assert result.exit_code == 2, result.output
    assert result.stderr == f"{message}\n"
    assert birds.left() == set()


def test_a_folder_becomes_records_and_a_second_call_does_nothing(birds, capfd):
    result = birds.build()
    assert result.exit_code == 0, result.stderr
    said = capfd.readouterr().out
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in said.splitlines() if "│" in line
    ]
    groups = ["land / dry", "land / wet", "water / dry", "water / wet"]
    assert rows == [*([group, "3", "3", "3"] for group in groups), ["all", "12", "12", "12"]]
    assert said.splitlines()[-1] == str(birds.output)
    records = [
        schema.deserialize(record)
        for record in schema.read_records(sorted((birds.output / "test").iterdir())).as_numpy_iterator()
    ]
    names = {row[0]: row for row in birds.rows}
    assert len(records) == 12
    for record in records:
        _, bird, place, split = names[record.example_id]
        assert (record.label, record.subgroup, split) == (bird == "water", place == "wet", "test")
        assert record.image == (birds.images / record.example_id).read_bytes()

    assert birds.build().exit_code == 0
    said = capfd.readouterr().out
    assert said.splitlines()[-1] == f"{birds.output}: nothing to do, it was made of the same before"
    assert "converting" not in said and "land / dry" in said

    changed = birds.build("--seed", "5")
    assert changed.exit_code == 2
    assert changed.stderr.startswith(f"{birds.output} holds data made with other settings")


def test_a_column_is_kept_in_the_records(birds):
    for number, row in enumerate(birds.rows):
        row.append(f"camera {number % 2}")
    header = ("filename", "bird", "place", "split", "camera")
    options = "--keep", "camera", "--split-shares", "0.5,0.25,0.25"
    assert birds.build(*options, header=header).exit_code == 0
    cameras = {row[0]: row[4] for row in birds.rows}
    for record in schema.read_records(sorted((birds.output / "test").iterdir())).as_numpy_iterator():
        found = schema.deserialize(record)
        assert found.further == {"camera": schema.feature(cameras[found.example_id])}
    assert birds.build(*options, header=header).exit_code == 0  # the same again


def test_a_kept_column_with_a_records_name_is_refused(birds):
    check_refused(
        birds,
        birds.build("--keep", "label"),
        "'label' can't be kept: it is the name of a feature that every record has",
    )


def test_images_are_scaled_and_made_grey_and_splits_are_drawn(birds):
    for number, row in enumerate(birds.rows):
        (birds.images / row[0]).write_bytes(encode(number, (10, 20 + number), "JPEG"))
        row[3] = ""
    options = (
        "--size",
        "6",
        "--crop",
        "--grey",
        "--split-shares",
        "0.5,0.25,0.25",
        "--classes",
        "water,land=Land",
    )
    result = birds.build(*options)
    assert result.exit_code == 0, result.stderr
    counts = {}
    for split in SPLITS:
        paths = sorted((birds.output / split).iterdir())
        records = [schema.deserialize(item) for item in schema.read_records(paths).as_numpy_iterator()]
        counts[split] = len(records)
        for record in records:
            image = Image.open(io.BytesIO(record.image))
            assert (image.size, image.mode, image.format) == ((6, 6), "L", "JPEG")
            assert record.label == int("-0-" in record.example_id or "-1-" in record.example_id)
    # Of 9 images of each group, up to 4.5 and 6.75, rounded: 4, 3, 2.
    assert counts == {"train": 16, "validation": 12, "test": 8}


def test_images_that_do_not_fit_are_named(birds):
    (birds.images / birds.rows[1][0]).write_bytes(encode(1, (9, 8)))
    message = f"{birds.csv_file}, row 2: {OTHER_SIZE}"
    check_refused(birds, birds.build(), message)


def test_an_image_that_cannot_be_decoded_is_named(birds):
    (birds.images / birds.rows[2][0]).write_bytes(b"GIF89a")
    check_refused(birds, birds.build(), f"{birds.csv_file}, row 3: the image is neither PNG nor JPEG")


def test_a_label_that_is_not_one_of_the_classes_is_named(birds):
    birds.rows[3][1] = "7"
    message = f"{birds.csv_file}, row 4: column 'bird' has '7', which is none of 'land', 'water'"
    check_refused(birds, birds.build("--classes", "land,water"), message)


def test_an_image_that_comes_twice_is_named(birds):
    birds.rows.append(birds.rows[0])
    check_refused(birds, birds.build(), f"{birds.csv_file}, row 37: 'train-0-0.png' was in row 1 already")


def test_an_empty_split_is_named(birds):
    birds.rows = birds.rows[:24]
    check_refused(birds, birds.build(), "images: split 'test' has no images")


def test_a_missing_column_is_named(birds):
    result = birds.build(header=("filename", "bird", "where", "split"))
    message = f"{birds.csv_file}: has no column 'place'; its columns are filename, bird, where, split"
    check_refused(birds, result, message)


def test_a_missing_file_is_named(birds):
    birds.rows[5][0] = 'Gänse, "wild".png'
    message = f"{birds.csv_file}, row 6: there is no file 'Gänse, \"wild\".png' in {birds.images}"
    check_refused(birds, birds.build(), message)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody, who may not read the folder")
def test_an_unreadable_folder_is_named():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        birds = Birds(Path(folder))
        birds.csv_file.touch()
        for path in (birds.csv_file, birds.images):
            os.chown(path, NOBODY, NOBODY)
        birds.images.chmod(0o000)
        os.seteuid(NOBODY)
        try:
            result = birds.build()
        finally:
            os.seteuid(0)
        check_refused(birds, result, f"{birds.images}: can't be read: Permission denied")


# 36 images of some 200 B or 5 kB: the records don't fit, or only the scratch files do.
@pytest.mark.parametrize("size", [(8, 8), (40, 40)])
def test_a_full_disk_is_told_and_nothing_is_left(birds, small_disk, size):
    for number, row in enumerate(birds.rows):
        (birds.images / row[0]).write_bytes(encode(number, size))
    if size == (8, 8):
        (small_disk / "filler").write_bytes(bytes(2**16 - 28 * 2**10))
    before = {path.name for path in small_disk.iterdir()}
    result = birds.build("--output", str(small_disk / "out"))
    assert result.exit_code == 2, result.output
    assert result.stderr == f"{small_disk}: can't be written: No space left on device\n"
    assert {path.name for path in small_disk.iterdir()} == before


def test_bad_images_are_skipped_and_listed(birds, capfd):
    birds.rows[3][1] = "7"
    (birds.images / birds.rows[1][0]).write_bytes(encode(1, (9, 8)))
    (birds.images / birds.rows[30][0]).unlink()
    options = ("--classes", "land,water", "--skip-bad")
    message = f"{birds.csv_file}, row 2: {OTHER_SIZE}"
    check_refused(birds, birds.build(*options, "2"), f"{message} (after 2 that were skipped)")
    capfd.readouterr()
    result = birds.build(*options, "3")
    assert result.exit_code == 0, result.stderr
    skipped = [line for line in capfd.readouterr().out.splitlines() if line.startswith("skipped: ")]
    assert [line.split(": ")[1] for line in skipped] == [f"{birds.csv_file}, row {row}" for row in (2, 4, 31)]
    assert skipped[0] == f"skipped: {message}"


def test_an_output_folder_with_something_else_is_left_alone(birds):
    birds.output.mkdir()
    (birds.output / "mine").write_text("mine")
    result = birds.build()
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{birds.output} holds data made with other settings")
    assert [path.name for path in birds.output.iterdir()] == ["mine"]
    blocked = birds.build("--output", str(birds.csv_file / "out"))
    assert (blocked.exit_code, blocked.stderr.count("\n")) == (2, 1)
    assert blocked.stderr == f"{birds.csv_file}: can't be written: File exists\n"


def test_an_interruption_is_told_and_nothing_is_left(birds, monkeypatch):
    from model_patching.data.conversion import records

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "prepare_image", interrupt)
    result = birds.build()
    assert result.exit_code == 130
    assert result.stderr == f"interrupted; {birds.output} is as it was before\n"
    assert birds.left() == set()


def test_an_interruption_while_a_finished_folder_is_checked_is_told(birds, monkeypatch):
    from model_patching.data import build

    assert birds.build().exit_code == 0
    before = sorted(birds.output.rglob("*"))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "_is_whole", interrupt)
    result = birds.build()
    assert (result.exit_code, result.stderr) == (130, f"interrupted; {birds.output} is as it was before\n")
    assert sorted(birds.output.rglob("*")) == before


@pytest.mark.parametrize(
    "options, message",
    [
        (("--split-shares", "0.8,0.1,0.1", "--split", "split"), "give either --split, or --split-shares"),
        (("--split-shares", "0.8,0.1,0.2"), "--split-shares 0.8,0.1,0.2: give three shares that make 1"),
        (("--split-shares", "0.8,0.2"), "--split-shares 0.8,0.2: give three shares"),
        (("--split-shares", "1,0,0"), "--split-shares 1,0,0: give three shares"),
        (
            ("--split-values", "train=0,test=1", "--split", "s"),
            "--split-values train=0,test=1: give a value for",
        ),
        (("--split-values", "later=0", "--split", "s"), "--split-values later=0: give each value once"),
        (("--grey", "--color"), "--grey and --color exclude each other"),
        (("--size", "8", "--resize", "8,8"), "--resize and --size exclude each other"),
        (("--resize", "8x8"), "--resize 8x8: give height and width"),
        (("--resize", "0,8"), "--resize 0,8: give height and width"),
        (("--crop",), "--crop goes with --resize or --size"),
        (("--classes", "land"), "--classes land: give at least two names"),
        (("--subgroups", "a,a,b"), "--subgroups a,a,b: 'a' comes twice"),
        (
            ("--beam-arg=--direct_num_workers=many",),
            "Beam doesn't take its options: argument --direct_num_work",
        ),
    ],
)
def test_a_wrong_option_is_told_in_one_line(birds, options, message):
    result = birds.build(*options)
    assert result.exit_code == 2
    assert result.stderr.startswith(message) and result.stderr.count("\n") == 1
    assert birds.left() == set()


def test_the_published_sizes_are_compared_in_the_terminal(capfd):
    from model_patching.data.dataset import Dataset
    from model_patching.pipelines.build_data import _say_result

    dataset = Dataset(classes=("a", "b"), subgroups=("x", "y"), image_shape=(1, 1, 1))
    manifest = {
        "counts": {split: [[1000, 2], [3, 4]] for split in SPLITS},
        "warnings": ["group 'a / y' of train: 2 images, published are 3"],
        "skipped": [{"place": f"f, row {n}", "reason": "bad"} for n in range(25)],
    }
    _say_result(manifest, Path("out"), dataset, built=True)
    said = capfd.readouterr().out
    assert "1,000" in said
    assert "warning: group 'a / y' of train: 2 images, published are 3\n" in said
    assert said.count("skipped: f, row") == 20
    assert "skipped: 5 more, see out/manifest.json" in said
