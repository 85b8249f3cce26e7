"""Runs of a toy pipeline, and what the user sees of them. All in one process, see toy_runs.py."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_patching.pipelines.cli import main


@dataclass
class Runs:
    """What the runs left: for each its output and exit code; the folder of them all."""

    outputs: list[str]
    codes: list[int]
    root: Path

    def log(self, run: int) -> str:
        """Text of a run's log file, whose path the run has printed."""
        (path,) = [
            word.strip("()") for word in self.outputs[run].split() if word.strip("()").endswith(".log")
        ]
        return Path(path).read_text()

    def nodes(self, run: int) -> dict:
        """How the run's nodes went, in the order in which they ended; the folders' names sort as the runs went."""
        folder = sorted((self.root / "model_patching/nodes").iterdir())[run]
        entries = {file.stem: json.loads(file.read_text()) for file in folder.iterdir()}
        return dict(sorted(entries.items(), key=lambda entry: entry[1]["ended"]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Five runs: blessed, the same again, not blessed, a failing node, an interrupted one."""
    root = tmp_path_factory.mktemp("toy") / "runs"
    script = Path(__file__).with_name("toy_runs.py")
    done = subprocess.run([sys.executable, script, root], capture_output=True, text=True, check=True)
    outputs, codes, current = [], [], []
    for line in done.stdout.splitlines():
        if line.startswith("exit "):
            codes.append(int(line.removeprefix("exit ")))
            outputs.append("\n".join(current))
            current = []
        else:
            current.append(line)
    return Runs(outputs, codes, root)


def test_exit_codes(runs: Runs):
    assert runs.codes == [0, 0, 3, 1, 130]


def test_each_node_has_a_line(runs: Runs):
    lines = [line.rsplit("  ", 1) for line in runs.outputs[0].splitlines()]
    assert [line[0] for line in lines[:4]] == ["✓ MNIST-Correlation", "✓ First", "✓ Second", "✓ Report"]
    assert all(line[1].endswith(" s") for line in lines[:4])


def test_the_data_is_built_where_the_nodes_look_for_it(runs: Runs):
    (folder,) = (runs.root / "data").glob("mnist_correlation-*")
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "train", "validation", "test"}


def test_unchanged_nodes_are_cached(runs: Runs):
    assert runs.outputs[1].splitlines()[:3] == ["• First  cached", "• Second  cached", "• Report  cached"]
    assert runs.outputs[2].splitlines()[:2] == ["• First  cached", "• Second  cached"]
    assert runs.outputs[2].splitlines()[2].startswith("✓ Report  ")


def test_a_skipped_node_leaves_nothing(runs: Runs):
    """It has neither a time nor artifacts that a report could show."""
    for run in (0, 1, 2):
        assert "\n• Never  skipped\n" in runs.outputs[run]
        assert "Never" not in runs.nodes(run)


def test_times_are_left_for_the_report(runs: Runs):
    assert [(node, entry["cached"]) for node, entry in runs.nodes(0).items()] == [
        ("First", False),
        ("Second", False),
        ("Report", False),
    ]
    assert {node: entry["cached"] for node, entry in runs.nodes(2).items()} == {
        "First": True,
        "Second": True,
        "Report": False,
    }
    assert list(runs.nodes(3)) == ["First"]
    assert all(entry["seconds"] >= 0 for entry in runs.nodes(0).values())


def test_artifacts_are_left_for_the_report_those_from_the_cache_too(runs: Runs):
    examples = {"id": 1, "type": "Examples", "path": "First/examples/1"}
    model = {"id": 2, "type": "Model", "path": "Second/model/2"}
    for run in (0, 1, 2):
        nodes = runs.nodes(run)
        assert nodes["First"]["inputs"] == [] and nodes["First"]["outputs"] == [examples]
        assert nodes["Second"]["inputs"] == [examples] and nodes["Second"]["outputs"] == [model]
    # In whichever order TFX has registered them.
    assert {artifact["type"] for artifact in runs.nodes(0)["Report"]["outputs"]} == {
        "SubgroupReport",
        "PushedModel",
    }


def test_the_run_ends_with_table_verdict_and_paths(runs: Runs):
    for run in (0, 1):  # a cached report is found as well
        text = runs.outputs[run]
        assert "even / zigzag ← worst" in text
        assert "\nblessed: worst group 25.0 % (even / zigzag), average 80.0 %\n" in text
        assert (
            "\ntranslation  worst flip rate 98.4 % (odd, clean → zigzag), class kept 97.9 % (even, zigzag → clean), "
            "distance left 2.0 % (odd, clean → zigzag)\n" in text
        )
        assert f"report   {runs.root}/model_patching/Report/report/3/report.html\n" in text
        assert "\nmodel    serving/1\n" in text
    verdict = (
        "not blessed: worst group 25.0 % (even / zigzag), average 80.0 %; at least 50.0 % was asked for (missed by "
        "25.0 points)"
    )
    assert f"\n{verdict}\n" in runs.outputs[2]
    cells = [line.strip("│ ").split("│") for line in runs.outputs[2].splitlines()]
    missed = ["min_worst_group_accuracy", "50.0 %", "25.0 %", "25.0 points"]
    assert missed in [[cell.strip() for cell in row] for row in cells]
    assert "\ntranslation" not in runs.outputs[2]
    assert "\nmodel    not pushed" in runs.outputs[2]


def test_the_runs_are_found_again(runs: Runs):
    result = CliRunner().invoke(main, ["runs", "--root", str(runs.root), "--json"])
    assert result.exit_code == 0, result.output
    report = f"{runs.root}/model_patching/Report/report/{{}}/report.html"
    assert [(run["pipeline"], run["verdict"], run["report"]) for run in json.loads(result.output)] == [
        ("model_patching", "no report", None),
        ("model_patching", "failed: Second", None),
        ("model_patching", "not blessed", report.format(9)),
        ("model_patching", "blessed", report.format(3)),  # from the cache
        ("model_patching", "blessed", report.format(3)),
    ]


def test_piped_output_is_plain_text(runs: Runs):
    assert "\x1b" not in "".join(runs.outputs)
    assert "\r" not in "".join(runs.outputs)


def test_the_noise_is_in_the_log(runs: Runs):
    for noise in ("a print of Python", "noise of C++", "Running launcher for", "Beam's timed flush: 0 ms"):
        assert noise in runs.log(0)
        assert noise not in runs.outputs[0]


def test_a_failed_node_says_which_why_and_where_its_log_is(runs: Runs):
    lines = runs.outputs[3].splitlines()
    assert lines[:3] == [
        "• First  cached",
        "✗ Second failed",
        "ValueError: train/data-00000: record 7 has no label",
    ]
    assert len(lines) == 4
    assert "Traceback" in runs.log(3)


def test_an_interrupted_run_says_so_in_one_line(runs: Runs):
    first, last = runs.outputs[4].splitlines()
    assert first == "• First  cached"
    assert last.startswith("interrupted")
