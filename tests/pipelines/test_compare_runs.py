import json
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from model_patching.components.subgroup_report import figures
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
            "worst_group": "a / y",
            "groups": [
                {"name": f"{y} / {z}", "accuracy": worst if (y, z) == ("a", "y") else average}
                for y in dataset["classes"]
                for z in dataset["subgroups"]
            ],
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
    assert camel["groups"][1] == {"name": "a / y", **camel["worst_group_accuracy"]}
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


def test_the_page_shows_methods_groups_and_runs(write, tmp_path, read_page):
    with_report = write("a run: 1", "camel", 2, 0.98, 0.96, 0.02)
    (tmp_path / "a run: 1/report.html").touch()
    result = compare(
        with_report,
        write("2", "camel", 3, 0.97, 0.98, 0.04),
        write("3", "erm", 2, 0.95, 0.10, 0.8),
        "--output",
        str(tmp_path / "out"),
    )
    assert result.exit_code == 0, result.output
    html = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    page = read_page(html)
    for row in (
        ["camel (best worst group)", "2, 3", "97.5 ± 0.7 %", "97.0 ± 1.4 %", "3.0 ± 1.4 %"],
        ["erm", "2", "95.0 %", "10.0 %", "80.0 %"],
        ["a / y", "97.0 %", "10.0 %"],  # a group's mean with each method
        ["b / x", "97.5 %", "95.0 %"],
        ["camel", "2", "98.0 %", "96.0 %", "a / y", "report figures"],
        ["camel", "3", "97.0 %", "98.0 %", "a / y", "figures"],
        ["erm", "2", "95.0 %", "10.0 %", "a / y", "figures"],
    ):
        assert row in page.rows
    links = [unquote(attributes["href"]) for tag, attributes in page.tags if tag == "a"]
    assert links == ["../a run: 1/report.html", *(f"../{run}/summary.json" for run in ("a run: 1", 2, 3))]
    assert all((tmp_path / "out" / link).is_file() for link in links)


def test_the_page_loads_nothing_and_its_charts_show_every_run(write, tmp_path, read_page):
    names = DATASET | {"name": "<b>", "classes": ["a", "<script>"], "subgroups": ["x", "$y$"]}
    runs = [
        write(f"{method[:2]}-{seed}", method, seed, average, 0.5, 0.1, names)
        for method in ("camel", "<img src=x>")
        for seed, average in ((2, 0.9), (3, 0.8), (4, 0.7))
    ]
    result = compare(*runs, "--output", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    html = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    page = read_page(html)
    assert not {"script", "link", "iframe", "img", "b"} & {tag for tag, _ in page.tags}
    assert any(row[0] == "<script> / $y$" for row in page.rows)
    methods, groups = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    # Dots by their colour: six runs of worst group and average each; of each method four groups in three runs.
    for chart, dots in ((methods, 6), (groups, 12)):
        ElementTree.fromstring(chart)
        for colour in (figures.THIS_MODEL, figures.BASELINE):
            uses = re.findall(rf"<use [^>]*fill: {colour}; fill-opacity: 0.6", chart)
            assert len(uses) == dots
    assert "<script> / $y$".replace("<", "&lt;").replace(">", "&gt;") in groups
    assert ">camel</text>" in methods and ">camel</text>" in groups


def test_predictions_that_were_evaluated(write, tmp_path):
    for seed in (2, 3):
        (tmp_path / "p.csv").write_text("label,subgroup,prediction\na,x,a\nb,x,b\na,y,b\n" + "a,y,a\n" * seed)
        arguments = ["--method", "mine", "--seed", str(seed), "--output", str(tmp_path / str(seed))]
        CliRunner().invoke(main, ["evaluate", "--predictions", str(tmp_path / "p.csv"), *arguments])
    result = compare(str(tmp_path / "2"), str(tmp_path / "3"), "--output", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "| mine | 2, 3 | 81.7 ± 2.4 % | 70.8 ± 5.9 % |" in (tmp_path / "out/comparison.md").read_text()
    without = write("without", None, None, 0.9, 0.8, 0.1)
    result = compare(without, "--output", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "summary.json: has no method; name it with `model-patching evaluate --method`" in result.output


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
