import json

import pytest
from typer.testing import CliRunner

from model_patching.pipelines import sweep as module
from model_patching.pipelines.cli import main
from model_patching.pipelines.config import load_config
from model_patching.pipelines.run import Outcome


@pytest.mark.parametrize(
    "seeds, message",
    [
        ("2,x", "--seeds 2,x: give whole numbers with commas between, for example --seeds 2,3,4\n"),
        ("2,2", "--seeds 2,2: a seed comes twice\n"),
        ("-1", "demo: training.seed: -1 is not at least 0\ndemo: baseline.seed: -1 is not at least 0\n"),
    ],
)
def test_bad_seeds(seeds, message):
    result = CliRunner().invoke(main, ["sweep", "demo", f"--seeds={seeds}"])
    assert result.exit_code == 2 and result.output == message


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Sweeps three seeds with runs that end as told; returns the exit code and the configurations that ran."""

    def do(*codes, presets=("demo",), seeds=(2, 3, 4)):
        ran = []

        def run(config):
            ran.append(config)
            folder = tmp_path / f"report-{len(ran)}"
            folder.mkdir()
            summary = {
                "dataset": {"name": "toy"},
                "method": config.training.method,
                "seed": config.training.seed,
                "average_accuracy": 0.9,
                "worst_group_accuracy": 0.7 + config.training.seed / 100,
                "subgroup_gap": {"largest": 0.1},
            }
            (folder / "summary.json").write_text(json.dumps(summary))
            return Outcome(codes[len(ran) - 1], folder / "summary.json")

        monkeypatch.setattr(module, "run", run)
        configs = {
            preset: [load_config(preset, [f"root={tmp_path}", f"training.seed={seed}"]) for seed in seeds]
            for preset in presets
        }
        return module.sweep(configs), ran

    return do


def test_runs_every_seed_and_compares(sweep, tmp_path):
    code, ran = sweep(0, 3, 0)  # one model wasn't blessed
    assert code == 0 and [config.training.seed for config in ran] == [2, 3, 4]
    assert len({config.records_dir for config in ran}) == 1
    folder = tmp_path / "model_patching/sweeps/demo-seeds-2-3-4"
    assert "| camel | 2, 3, 4 | 90.0 ± 0.0 % | 73.0 ± 1.0 % |" in (folder / "comparison.md").read_text()


def test_compares_presets(sweep, tmp_path):
    presets = ["mnist_correlation_erm", "mnist_correlation_camel"]
    code, ran = sweep(0, 0, 0, 0, presets=presets, seeds=(2, 3))
    assert code == 0
    assert [(config.training.method, config.training.seed) for config in ran] == [
        ("erm", 2),
        ("erm", 3),
        ("camel", 2),
        ("camel", 3),
    ]
    folder = tmp_path / "model_patching/sweeps/mnist_correlation_erm-mnist_correlation_camel-seeds-2-3"
    rows = (folder / "comparison.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [["| erm", "2, 3"], ["| camel", "2, 3"]]


@pytest.mark.parametrize(
    "presets, message",
    [
        (["demo", "demo.yaml"], "demo and demo.yaml: both have the method camel; sweep them one by one"),
        (["demo", "mnist_correlation_erm"], "demo and mnist_correlation_erm: their records differ, "),
    ],
)
def test_what_cannot_be_compared_does_not_run(tmp_path, monkeypatch, presets, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text("data: {mnist_correlation: {}}\n")
    monkeypatch.setattr(module, "run", None)
    result = CliRunner().invoke(main, ["sweep", *presets, "--seeds", "2"])
    assert result.exit_code == 2 and result.output.startswith(message) and result.output.count("\n") == 1


@pytest.mark.parametrize("code", [1, 130])
def test_stops_at_a_run_that_failed_or_was_interrupted(sweep, tmp_path, code):
    found, ran = sweep(0, code)
    assert found == code and len(ran) == 2
    assert not (tmp_path / "model_patching").exists()
