import json
import shutil

import pytest
from typer.testing import CliRunner

from model_patching.pipelines import sweep as module
from model_patching.pipelines.cli import main
from model_patching.pipelines.config import PRESETS, load_config
from model_patching.pipelines.run import Outcome


@pytest.mark.parametrize(
    "seeds, message",
    [
        ("2,x", "--seeds 2,x: give whole numbers with commas between, for example --seeds 2,3,4\n"),
        ("2,2", "--seeds 2,2: a seed comes twice\n"),
        ("-1", "demo: training.seed: -1 is not at least 0\n"),
    ],
)
def test_bad_seeds(seeds, message):
    result = CliRunner().invoke(main, ["sweep", "demo", f"--seeds={seeds}"])
    assert result.exit_code == 2 and result.output == message


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["demo", "demo"], "demo demo: a preset comes twice\n"),
        (
            ["demo", "--set", "training.seed=7"],
            "--set training.seed=7: a sweep's seeds are given by --seeds\n",
        ),
    ],
)
def test_what_would_be_ignored_is_refused(arguments, message):
    result = CliRunner().invoke(main, ["sweep", *arguments, "--seeds=2"])
    assert result.exit_code == 2 and result.output == message


def test_bad_weights_of_a_later_preset_are_told_before_the_first_runs(tmp_path, monkeypatch):
    (tmp_path / "later.yaml").write_text(
        "data: {mnist_correlation: {}}\ntraining: {method: erm, backbone: ResNet50}\n"
    )
    monkeypatch.setattr(module, "run", lambda config: pytest.fail("a preset has run"))
    monkeypatch.setattr(module, "_check_comparable", lambda configs: None)
    result = CliRunner().invoke(main, ["sweep", "demo", str(tmp_path / "later.yaml"), "--seeds=2"])
    assert result.exit_code == 1
    assert "training: ResNet50: Input size must be at least 32x32" in result.output


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
                "settings": config.training.model_dump(mode="json", exclude={"seed"}),
                "seed": config.training.seed,
                "average_accuracy": 0.9,
                "worst_group": "a / x",
                "groups": [{"name": "a / x", "accuracy": 0.7}],
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
    folder = tmp_path / "model_patching/sweeps"
    (folder,) = folder.glob("demo-seeds-2-3-4-*")
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
    folder = tmp_path / "model_patching/sweeps"
    (folder,) = folder.glob("mnist_correlation_erm-mnist_correlation_camel-seeds-2-3-*")
    rows = (folder / "comparison.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [["| erm", "2, 3"], ["| camel", "2, 3"]]


@pytest.mark.parametrize(
    "presets, message",
    [
        (["demo", "same.yaml"], "demo and same.yaml: they have the same settings of training"),
        (["demo", "mnist_correlation_erm"], "demo and mnist_correlation_erm: their records differ, "),
    ],
)
def test_what_cannot_be_compared_does_not_run(tmp_path, monkeypatch, presets, message):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PRESETS / "demo.yaml", tmp_path / "same.yaml")
    monkeypatch.setattr(module, "run", None)
    result = CliRunner().invoke(main, ["sweep", *presets, "--seeds", "2"])
    assert result.exit_code == 2 and result.output.startswith(message) and result.output.count("\n") == 1


@pytest.mark.parametrize("code", [1, 130])
def test_stops_at_a_run_that_failed_or_was_interrupted(sweep, tmp_path, code):
    found, ran = sweep(0, code)
    assert found == code and len(ran) == 2
    assert not (tmp_path / "model_patching").exists()
