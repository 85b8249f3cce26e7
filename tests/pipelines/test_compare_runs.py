import json

import pytest
from typer.testing import CliRunner

from model_patching.pipelines.cli import main

DATASET = {"name": "toy", "classes": ["a", "b"], "subgroups": ["x", "y"], "image_shape": [8, 8, 1]}


@pytest.fixture
def write(tmp_path):
    def do(name, method, seed, average, worst, gap, dataset=DATASET, **settings):
        folder = tmp_path / name
        folder.mkdir()
        summary = {
            "dataset": dataset,
            "method": method,
            "seed": seed,
            "settings": {"method": method, "epochs": 10, "learning_rate": 0.1, **settings},
            "average_accuracy": average,
            "worst_group_accuracy": worst,
            "subgroup_gap": {"largest": gap, "per_class": {}},
        }
        (folder / "summary.json").write_text(json.dumps(summary))
        return str(folder)

    return do


def compare(*arguments):
    return CliRunner().invoke(main, ["compare", *arguments])


def test_mean_and_standard_deviation_by_hand(write, tmp_path):
    output = tmp_path / "out"
    result = compare(
        write("1", "camel", 2, 0.98, 0.96, 0.02),
        write("2", "erm", 2, 0.95, 0.10, 0.8),
        write("3", "camel", 3, 0.97, 0.98, 0.04) + "/summary.json",
        write("4", "camel", 4, 0.99, 0.97, None),
        "--output",
        str(output),
    )
    assert result.exit_code == 0, result.output
    # Of .96, .98 and .97 the sample's standard deviation is .01; of .02 and .04 it is .0141.
    assert (output / "comparison.md").read_text() == (
        "| method | seeds | average | worst group | largest gap |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| camel | 2, 3, 4 | 98.0 ± 1.0 % | 97.0 ± 1.0 % | 3.0 ± 1.4 % |\n"
        "| erm | 2 | 95.0 % | 10.0 % | 80.0 % |\n"
    )
    for text in ("97.0 ± 1.0 %", "10.0 %", f"{output}/comparison.png"):
        assert text in result.output.replace("\n", "")
    camel, erm = json.loads((output / "comparison.json").read_text())["methods"]
    assert camel["worst_group_accuracy"]["values"] == [0.96, 0.98, 0.97]
    assert camel["worst_group_accuracy"]["std"] == pytest.approx(0.01)
    assert erm["worst_group_accuracy"] == {"mean": 0.10, "std": None, "values": [0.10]}
    assert (output / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_settings_of_one_method_are_told_apart(write, tmp_path):
    result = compare(
        write("1", "camel", 2, 0.9, 0.8, 0.1),
        write("2", "camel", 2, 0.9, 0.6, 0.1, learning_rate=0.2),
        write("3", "camel", 3, 0.9, 0.7, 0.1, learning_rate=0.2),
        write("4", "erm", 2, 0.9, 0.1, 0.1, learning_rate=0.3),
        "--output",
        str(tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    rows = (tmp_path / "out/comparison.md").read_text().splitlines()[2:]
    assert rows == [
        "| camel (learning_rate 0.1) | 2 | 90.0 % | 80.0 % | 10.0 % |",
        "| camel (learning_rate 0.2) | 2, 3 | 90.0 ± 0.0 % | 65.0 ± 7.1 % | 10.0 ± 0.0 % |",
        "| erm | 2 | 90.0 % | 10.0 % | 10.0 % |",
    ]


def test_what_cannot_be_compared(write, tmp_path):
    good = write("good", "camel", 2, 0.98, 0.96, 0.02)
    (tmp_path / "bad.json").write_text("{}")
    other = write("other", "erm", 2, 0.9, 0.8, 0.1, DATASET | {"name": "birds"})
    for run, message in (
        (str(tmp_path / "gone"), f"{tmp_path}/gone: there is no such file; give a run's summary.json"),
        (str(tmp_path / "bad.json"), f"{tmp_path}/bad.json: not the summary.json of a run: "),
        (
            write("twice", "camel", 2, 0.9, 0.8, 0.1),
            f"{tmp_path}/twice: camel with seed 2 is there already: {good}",
        ),
        (other, f"{other}: its data set is birds, that of {good} toy"),
        (
            write("empty", "erm", 2, None, None, None),
            f"{tmp_path}/empty/summary.json: its test split has no examples",
        ),
    ):
        result = compare(good, run, "--output", str(tmp_path / "out"))
        assert result.exit_code == 2
        assert result.output.startswith(message) and result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()
