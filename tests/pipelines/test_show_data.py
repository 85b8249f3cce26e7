"""`data show`, from the command line to the PNG."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from model_patching.data import schema
from model_patching.pipelines.cli import main

COUNTS = {"train": ((1200, 1), (2, 3)), "test": ((1, 2), (0, 1))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_records, toy_records):
    folder = tmp_path_factory.mktemp("show") / "pets"
    for split, counts in COUNTS.items():
        write_records(schema.shard_path(folder, split, 0, 1), toy_records(counts, (8, 8, 3)))
    dataset = {"classes": ["cat", "dog"], "subgroups": ["day", "night"], "image_shape": [8, 8, 3]}
    (folder / "manifest.json").write_text(json.dumps({"dataset": dataset}))
    return folder


@pytest.fixture
def show(capfd, tmp_path, monkeypatch):
    """Runs the command in an empty folder; returns its exit code and what it said on standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, ["data", "show", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        captured = capfd.readouterr()
        return result.exit_code, captured.out + result.stdout, captured.err + result.stderr

    return run


def rows(said):
    """Cells of the table's rows."""
    return [
        [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]
        for line in said.splitlines()
        if line.startswith(("│", "┃"))
    ]


def test_counts_and_a_contact_sheet(folder, show, tmp_path):
    code, said, _ = show(folder)
    assert code == 0
    assert rows(said) == [
        ["group", "train", "test"],
        ["cat / day", "1,200", "1"],
        ["cat / night", "1", "2"],
        ["dog / day", "2", "0"],
        ["dog / night", "3", "1"],
        ["all", "1,206", "4"],
    ]
    assert said.splitlines()[-1] == "contact_sheet.png"
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 1200


def test_names_are_shown_as_they_are(show, tmp_path, write_records, toy_records):
    for split in ("[bold]", "[red]"):
        write_records(
            tmp_path / "7" / f"Split-{split}" / "data-00000-of-00001.gz",
            toy_records(((1, 2), (0, 0)), (8, 8, 1)),
        )
    dataset = {"classes": ["[red]cat", "dog"], "subgroups": ["[/x]", "[bold]"], "image_shape": [8, 8, 1]}
    (tmp_path / "7" / "manifest.json").write_text(json.dumps({"dataset": dataset}))
    code, said, error = show(tmp_path / "7")
    assert code == 0, error
    heading, *groups = rows(said)
    assert sorted(heading) == ["[bold]", "[red]", "group"]
    assert groups == [
        ["[red]cat / [/x]", "1", "1"],
        ["[red]cat / [bold]", "2", "2"],
        ["dog / [/x]", "0", "0"],
        ["dog / [bold]", "0", "0"],
        ["all", "3", "3"],
    ]


def test_the_options(folder, show, tmp_path):
    code, said, _ = show(folder, "--columns", 2, "--output", "new/folder/sheet.png")
    assert code == 0 and said.endswith("new/folder/sheet.png\n")
    assert show(folder, "--columns", 3, "--output", "wider.png")[0] == 0
    assert show(folder, "--split", "test", "--output", "test.png")[0] == 0  # which has two of a group at most
    widths = []
    for name in ("new/folder/sheet.png", "wider.png", "test.png"):
        with Image.open(tmp_path / name) as sheet:
            widths.append(sheet.width)
    assert widths[1] == widths[0] + 86
    assert widths[2] < widths[1]


def test_the_names_of_a_configuration(show, tmp_path, write_records, toy_records):
    write_records(
        tmp_path / "7" / "Split-train" / "data-00000-of-00001.gz", toy_records(((1, 1), (1, 1)), (8, 8, 1))
    )
    code, said, _ = show("7")
    assert code == 0 and rows(said)[1][0] == "class 0 / subgroup 0"
    code, said, _ = show("7", "--config", "demo")
    assert code == 0 and [row[0] for row in rows(said)[1:3]] == ["even / clean", "even / zigzag"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nothing"], "nothing: there is no such folder"),
        (
            ["."],
            ".: no records there: expected files that end with .gz in train/, validation/, test/, or in Split-",
        ),
        (["{folder}", "--split", "validation"], "--split validation: {folder} has train, test"),
        (["{folder}", "--config", "dem"], "dem: there is no such preset, did you mean 'demo'?"),
        (["{folder}", "--output", "/dev/null/sheet.png"], "/dev/null/sheet.png: can't be written: "),
        (["{folder}", "--output", "."], ".: can't be written: Is a directory"),
    ],
)
def test_a_wrong_argument_is_one_line(folder, show, tmp_path, arguments, message):
    code, said, error = show(*[argument.format(folder=folder) for argument in arguments])
    assert code == 2
    assert error.startswith(message.format(folder=folder)) and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_one_line(show, tmp_path, write_records):
    path = write_records(tmp_path / "sets" / "train" / "a.tfrecord.gz", [b"no example"])
    code, _, error = show("sets")
    assert code == 2 and error == "sets/train/a.tfrecord.gz, record 0: not a serialized tf.train.Example\n"
    assert path.endswith("sets/train/a.tfrecord.gz")
    assert not (tmp_path / "contact_sheet.png").exists()
