"""`model-patching evaluate`: its files, table, verdict and exit codes."""

import json
import re

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import log_loss, roc_auc_score
from statsmodels.stats.proportion import proportion_confint
from typer.testing import CliRunner

from model_patching.pipelines.cli import main

# Right of each group: a/x 3 of 4, a/y 1 of 2, b/x 1 of 1, b/y 3 of 3.
ROWS = ["a,x,a"] * 3 + ["a,x,b"] + ["a,y,a", "a,y,b"] + ["b,x,b"] + ["b,y,b"] * 3
WORSE = ["a,x,a"] * 2 + ["a,x,b"] * 2 + ["a,y,b"] * 2 + ["b,x,b"] + ["b,y,b"] * 3


@pytest.fixture
def write(tmp_path):
    """A function that writes rows to a file of predictions."""

    def do(rows, name="p.csv", header="label,subgroup,prediction"):
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return str(tmp_path / name)

    return do


@pytest.fixture
def evaluate(tmp_path):
    """A function that evaluates into `out`."""

    def do(predictions, *arguments):
        command = ["evaluate", "--predictions", predictions, "--output", str(tmp_path / "out"), *arguments]
        return CliRunner().invoke(main, command)

    return do


def read_summary(tmp_path):
    return json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))


def test_by_hand(write, evaluate, tmp_path, read_page):
    result = evaluate(write(ROWS), "--baseline", write(WORSE, "q.csv"))
    assert result.exit_code == 0, result.output
    summary = read_summary(tmp_path)
    assert [(group["name"], group["count"], group["accuracy"]) for group in summary["groups"]] == [
        ("a / x", 4, 0.75),
        ("a / y", 2, 0.5),
        ("b / x", 1, 1.0),
        ("b / y", 3, 1.0),
    ]
    for group in summary["groups"]:
        low, high = proportion_confint(
            group["accuracy"] * group["count"], group["count"], alpha=0.05, method="wilson"
        )
        assert (group["ci_low"], group["ci_high"]) == pytest.approx((low, high), abs=1e-9)
    assert (summary["worst_group"], summary["worst_group_accuracy"]) == ("a / y", 0.5)
    assert summary["subgroup_gap"] == {"largest": 0.25, "per_class": {"a": 0.25, "b": 0.0}}
    assert summary["average_accuracy"] == pytest.approx(0.8)
    assert summary["baseline"]["kind"] == "predictions"
    assert summary["baseline"]["worst_group_accuracy"] == 0.0
    assert summary["baseline"]["slices"][0]["confusion_matrix"] == [[2, 4], [0, 4]]
    for key in ("pipeline", "run_id", "method", "seed", "settings", "blessed", "translation"):
        assert summary[key] is None
    verdict = "worst group 50.0 % (a / y), +50.0 points from the baseline's 0.0 % (a / y), average 80.0 %"
    assert f"not gated: {verdict}" in result.output
    assert "a / y ← worst" in result.output

    html = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    rows = read_page(html).rows
    assert ["a / y (worst)", "2", "50.0 %", "9.5–90.5 %", "0.0 %", "0.0–65.8 %", "+50.0"] in rows
    assert ["all", "10", "80.0 %", "49.0–94.3 %"] in rows  # a slice
    assert ["a", "100.0 %", "66.7 %", "4", "2"] in rows  # a class: precision, recall, predicted a and b
    assert f"Not gated: {verdict}." in html.replace("&#39;", "'")
    assert "None" not in re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)


def test_keys_are_a_runs(write, evaluate, tmp_path):
    """The order of the keys, too: scripts and people find the same file."""
    evaluate(write(ROWS))
    assert list(read_summary(tmp_path)) == [
        "pipeline", "run_id", "dataset", "method", "seed", "settings", "average_accuracy", "worst_group_accuracy",
        "worst_group", "subgroup_gap", "groups", "slices", "intervals", "blessed", "thresholds", "baseline",
        "missed_thresholds", "consistency", "mistakes", "translation", "data", "timings", "lineage", "versions",
    ]  # fmt: skip


def test_random_probabilities_are_scikit_learns_and_scipys(write, evaluate, tmp_path, read_page):
    generator = np.random.default_rng(0)
    probability = generator.random(2000)
    label = (generator.random(2000) < probability**2).astype(int)
    subgroup = generator.integers(0, 3, 2000)
    rows = [
        f"{y},{z},{1 - p!r},{p!r}"
        for y, z, p in zip(label.tolist(), subgroup.tolist(), probability.tolist(), strict=True)
    ]
    result = evaluate(write(rows, header="label,subgroup,probability_0,probability_1"))
    assert result.exit_code == 0, result.output
    summary = read_summary(tmp_path)
    for found in summary["slices"]:
        inside = np.ones(2000, bool)
        inside &= True if found["label"] is None else label == found["label"]
        inside &= True if found["subgroup"] is None else subgroup == found["subgroup"]
        correct = int(((probability > 0.5) == label)[inside].sum())
        interval = binomtest(correct, int(inside.sum())).proportion_ci(0.95, method="wilson")
        assert found["accuracy"] == pytest.approx(correct / inside.sum(), abs=1e-9)
        assert (found["ci_low"], found["ci_high"]) == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert found["cross_entropy"] == pytest.approx(
            log_loss(label[inside], probability[inside], labels=[0, 1]), abs=1e-9
        )
        if found["label"] is None:
            assert found["auc"] == pytest.approx(
                [roc_auc_score(label[inside], probability[inside])] * 2, abs=1e-9
            )
    rows = read_page((tmp_path / "out/report.html").read_text(encoding="utf-8")).rows
    (everything,) = [row for row in rows if row[0] == "all"]
    assert everything[4] == f"{summary['slices'][0]['cross_entropy']:.3f}"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--min-worst-group-accuracy", "0.5"], 0, "blessed: worst group 50.0 % (a / y)"),
        (["--min-worst-group-accuracy", "0.51"], 3, "at least 51.0 % was asked for"),
        (["--max-subgroup-gap", "0.25"], 0, "blessed: "),
        (["--max-subgroup-gap", "0.2"], 3, "the largest subgroup gap is 25.0 %, at most 20.0 % was asked for"),
        (["--baseline", "better.csv", "--max-worst-group-drop", "0.5"], 0, "blessed: "),
        (["--baseline", "better.csv", "--max-worst-group-drop", "0.4"], 3, "at most 40.0 % below the baseline's was"),
        (["--baseline", "better.csv"], 0, "not gated: "),
    ],
)  # fmt: skip
def test_thresholds(write, evaluate, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    write(
        [f"{label},{subgroup},{label}" for label, subgroup, _ in (row.split(",") for row in ROWS)],
        "better.csv",
    )
    result = evaluate(write(ROWS), *arguments)
    assert result.exit_code == code, result.output
    assert says in result.output
    blessed = None if says.startswith("not gated") else code == 0
    assert read_summary(tmp_path)["blessed"] is blessed


def test_names_stay_text(write, evaluate, tmp_path, read_page):
    hostile = "<script>alert(1)</script>"
    rows = [f"{hostile},$x$,{hostile}", f'{hostile},"<img src=x>",a & b', "a & b,$x$,a & b"]
    result = evaluate(write(rows, "<b>.csv"))
    assert result.exit_code == 0, result.output
    page = read_page((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    rows, tags = page.rows, [tag for tag, _ in page.tags]
    assert "script" not in tags and "img" not in tags
    assert tags.count("b") == 3  # the three figures in cards
    assert any(row[0] == f"{hostile} / $x$" for row in rows)
    assert any(f"predicted {hostile}" in row for row in rows)
    assert hostile in result.output


@pytest.mark.parametrize(
    ("rows", "arguments", "says"),
    [
        (["a,x,nan", "b,x,b"], [], "{folder}/p.csv: row 2: column 'prediction' has no value"),
        (["a,x,c", "b,x,b"], [], "{folder}/p.csv: row 2: prediction 'c' is none of a, b; --classes lists all that"),
        (ROWS, ["--label-column", "y"], "{folder}/p.csv: there is no column 'y', name it with --label-column; there"),
        (ROWS, ["--subgroups", "x,y,z"], "{folder}/p.csv: no row is of subgroup 'z', which --subgroups lists"),
        (ROWS, ["--classes", "a,b,a"], "--classes a,b,a: give different names with commas between"),
        (ROWS, ["--classes", ""], "--classes : give different names with commas between"),
        (ROWS, ["--max-worst-group-drop", "0.1"], "--max-worst-group-drop: compares with a baseline, give one"),
        (ROWS, ["--baseline", "{folder}/q.csv"], "{folder}/q.csv: can't be read: No such file or directory"),
        (ROWS, ["--baseline", "{folder}/other.csv"], "{folder}/other.csv: its subgroups are x, those of {folder}/p.c"),
        (ROWS, ["--baseline", "{folder}/more.csv"], "{folder}/more.csv: 4 rows are of group 'b / y', in {folder}/p.c"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_written(write, evaluate, tmp_path, rows, arguments, says):
    write(["a,x,a", "b,x,b"], "other.csv")
    write([*ROWS, "b,y,a"], "more.csv")
    result = evaluate(write(rows), *(argument.format(folder=tmp_path) for argument in arguments))
    assert result.exit_code == 2
    assert result.output.startswith(says.format(folder=tmp_path))
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_name_with_a_comma_is_quoted(write, evaluate, tmp_path):
    result = evaluate(write(["0,x,0", "1,x,0"]), "--classes", 'a,"b, c"')
    assert result.exit_code == 0, result.output
    assert read_summary(tmp_path)["dataset"]["classes"] == ["a", "b, c"]


def test_where_nothing_can_be_written(write, evaluate, tmp_path):
    (tmp_path / "out").touch()
    result = evaluate(write(ROWS))
    assert result.exit_code == 1
    assert result.output == f"{tmp_path}/out: can't be written: File exists\n"
