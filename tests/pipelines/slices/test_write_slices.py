"""`model-patching slices`: the page in Chromium, without network, beside what TFMA found; and wrong arguments."""

import json
import re
import shutil
import webbrowser

import ipywidgets
import pytest
from typer.testing import CliRunner

from model_patching.pipelines.cli import main

ROWS = ".google-visualization-table-table tr"
ACCURACY = "sparse_categorical_accuracy"
RUN_ID = "20261126-100000-000001"


def slices(*arguments):
    return CliRunner().invoke(main, ["slices", *map(str, arguments)])


def slice_name(group):
    """What TFMA calls the slice of a summary's group."""
    return f"label_X_subgroup:{group['class']}_X_{group['subgroup']}"


def column(rows, name):
    """{slice: number} of a column of TFMA's table; of an interval the value before it."""
    index = rows[0].index(name)
    number = re.compile(r"NaN|-?[\d.]+(e-?\d+)?")
    return {row[0]: float(number.match(row[index])[0]) for row in rows[1:]}


@pytest.fixture(scope="module")
def page(evaluated_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("a folder") / "deeper" / "out.html"
    result = slices("latest", "--root", evaluated_run[0], "--output", path, "--no-open")
    assert result.exit_code == 0, result.output
    assert result.output == f"{path}\n"
    return path


@pytest.fixture
def shown(page, chromium):
    """The browser with the page, once TFMA has drawn it."""
    chromium.open(page.as_uri())
    chromium.wait_for(lambda: len(chromium.rows(ROWS)) > 1 and "Select metrics" in chromium.text())
    return chromium


def test_every_slice_is_there_by_name_with_the_summarys_figures(shown, evaluated_run):
    _, summary = evaluated_run
    rows = shown.rows(ROWS)
    accuracy, count = column(rows, ACCURACY), column(rows, "example_count")
    assert len(accuracy) == 1 + 3 + 2 + 6
    assert {"Overall", "label:even", "subgroup:clean"} < set(accuracy)
    for group in summary["groups"]:
        assert accuracy[slice_name(group)] == pytest.approx(group["accuracy"], abs=6e-6)  # five digits
        assert count[slice_name(group)] == group["count"]
    assert column(rows, "worst_group_accuracy")["Overall"] == pytest.approx(
        summary["worst_group_accuracy"], abs=6e-6
    )
    # Those of one class say which.
    recall = column(rows, "recall of even")
    assert recall["label:even"] == accuracy["label:even"] and "recall of neither" in rows[0]
    assert RUN_ID in shown.text()


def test_fairness_indicators_have_the_baseline_beside_the_model(shown, evaluated_run):
    group = evaluated_run[1]["groups"][0]
    counts = [str(group["count"])] * 2
    shown.click("paper-checkbox", ACCURACY)

    def found():
        return [
            row[1:4] for row in shown.rows(".table-row") if row[0] == slice_name(group) and row[1:3] != counts
        ]

    ((baseline, model, change),) = shown.wait_for(found)
    assert float(baseline) == pytest.approx(group["baseline_accuracy"], abs=6e-4)
    assert float(model) == pytest.approx(group["accuracy"], abs=6e-4)
    assert float(change.strip("%")) == pytest.approx(
        100 * (group["accuracy"] / group["baseline_accuracy"] - 1), abs=6e-2
    )


def test_nothing_is_asked_of_the_network_that_is_let_through(shown):
    events = [json.loads(entry["message"])["message"] for entry in shown.driver.get_log("performance")]
    asked = {
        event["params"]["requestId"]: event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    refused = {
        event["params"]["requestId"]
        for event in events
        if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason") == "csp"
    }
    let_through = [url for request, url in asked.items() if request not in refused]
    assert let_through and all(url.startswith(("file:", "data:")) for url in let_through)


def test_names_with_html_are_text(shown):
    assert shown.driver.title == f"Slices of run {RUN_ID}"
    assert not shown.texts("img[src]")


def test_a_click_on_a_header_sorts_up_and_a_second_one_down(shown):
    for direction in (1, -1):
        shown.click("th", ACCURACY)
        values = list(column(shown.rows(ROWS), ACCURACY).values())
        assert values == sorted(values, reverse=direction < 0)
        assert len(set(values)) > 5


def test_the_chart_has_a_column_a_slice_and_the_histogram_counts_them(shown):
    columns = shown.wait_for(lambda: shown.texts("svg[aria-label=example_count] title"))
    assert len(columns) == 12
    assert "Overall example_count: 300" in columns
    shown.click("paper-item", "Metrics Histogram")
    counts = shown.wait_for(lambda: shown.texts("svg[aria-label^=Number] g[text-anchor] text"))
    assert sum(map(float, counts)) == 12


def test_the_table_has_pages(chromium, tmp_path):
    from model_patching.pipelines.slices.views import page

    view = ipywidgets.DOMWidget()
    view.config = {"weightedExamplesColumn": "example_count"}
    view.data = [
        {"slice": f"feature:{index}", "metrics": {"": {"": {"example_count": {"doubleValue": index}}}}}
        for index in range(25)
    ]
    view._view_name = "SlicingMetricsView"
    path = tmp_path / "page.html"
    path.write_text(page("", {"": view}))
    chromium.open(path.as_uri())
    first = [row[0] for row in chromium.wait_for(lambda: chromium.rows(ROWS)[1:])]
    chromium.click("a.google-visualization-table-page-number", "2")
    second = [row[0] for row in chromium.rows(ROWS)[1:]]
    assert (len(first), len(second)) == (20, 5)
    assert {*first, *second} == {f"feature:{index}" for index in range(25)}


def test_an_evaluation_without_metadata_has_numbers_for_names(evaluated_run, tmp_path, chromium):
    evaluation = tmp_path / "copied"
    shutil.copytree(evaluated_run[0] / "birds/Evaluator/evaluation/1", evaluation)
    result = slices(evaluation, "--output", tmp_path / "page.html", "--no-open")
    assert result.exit_code == 0, result.output
    chromium.open((tmp_path / "page.html").as_uri())
    rows = chromium.wait_for(lambda: chromium.rows(ROWS)[1:])
    assert "label_X_subgroup:2_X_1" in [row[0] for row in rows]


@pytest.mark.parametrize("run", [RUN_ID, ".", "birds/Evaluator/evaluation/1"])
def test_a_run_has_several_names(evaluated_run, tmp_path, run, page):
    root = evaluated_run[0]
    arguments = [run, "--root", root] if run == RUN_ID else [root / run]
    assert slices(*arguments, "--output", tmp_path / "page.html", "--no-open").exit_code == 0
    assert (tmp_path / "page.html").read_bytes() == page.read_bytes()


def test_it_opens_in_the_browser(evaluated_run, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")
    assert slices("--root", evaluated_run[0], "--output", tmp_path / "page.html").exit_code == 0
    assert opened == [(tmp_path / "page.html").as_uri()]


def test_a_run_without_an_evaluation_a_folder_without_one_and_a_damaged_one_are_one_line(
    evaluated_run, tmp_path
):
    root = evaluated_run[0]
    damaged = tmp_path / "damaged"
    shutil.copytree(root / "birds/Evaluator/evaluation/1", damaged)
    (damaged / "eval_config.json").write_text("{")
    for arguments, says in (
        (["nope", "--root", root], "nope: no run of this id"),
        ([tmp_path], f"{tmp_path}: no evaluation of TFMA's"),
        ([damaged], f"{damaged}: the evaluation can't be read"),
        (["--root", tmp_path], "metadata.sqlite: there is no such file"),
    ):
        result = slices(*arguments, "--output", tmp_path / "page.html", "--no-open")
        assert result.exit_code == 2
        assert says in result.output
        assert result.output.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cant_be_written_is_one_line(evaluated_run, tmp_path):
    (tmp_path / "file").touch()
    result = slices("--root", evaluated_run[0], "--output", tmp_path / "file" / "page.html", "--no-open")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert f"{tmp_path / 'file'}" in result.output
