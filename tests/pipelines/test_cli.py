"""The command line, as a user's shell calls it."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from model_patching.pipelines.config import preset_names

SCRIPT = """
import sys
from model_patching.pipelines.cli import main
try:
    main()
finally:
    heavy = ("tensorflow", "tfx", "apache_beam", "pandas", "wandb")
    assert not [name for name in heavy if name in sys.modules]
"""


def model_patching(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Calls the command in a process of its own, which fails if it loads TensorFlow and the like."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_help_lists_the_commands():
    done = model_patching("--help")
    assert done.returncode == 0
    for command in ("run", "presets", "config"):
        assert f" {command} " in done.stdout


def test_version():
    assert model_patching("--version").stdout == f"model-patching {version('model-patching')}\n"


def test_presets():
    lines = model_patching("presets").stdout.splitlines()
    assert [line.split()[0] for line in lines] == preset_names()
    assert all(len(line.split()) > 1 for line in lines), "each preset opens with a comment"


def test_config_prints_the_resolved_settings():
    done = model_patching("config", "demo", "--set", "training.epochs=77", "--set", "seed=5")
    assert done.returncode == 0
    tree = yaml.safe_load(done.stdout)
    assert tree["training"]["epochs"] == 77
    assert tree["seed"] == 5
    assert tree["pipeline_name"] == "model_patching"


@pytest.mark.parametrize("command", ["run", "config"])
def test_a_wrong_setting_is_one_line_and_exit_code_2(command: str, tmp_path: Path):
    done = model_patching(command, "demo", "--set", "training.epochs=oops", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "demo: training.epochs: 'oops' is not an integer\n"
    assert done.stdout == ""
    assert not list(tmp_path.iterdir()), "nothing is written before the configuration is checked"


def test_the_root_goes_through_the_same_check():
    done = model_patching("run", "demo", "--root", "")
    assert done.returncode == 2
    assert done.stderr.startswith("demo: root: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_root_may_look_like_a_number(tmp_path: Path):
    (tmp_path / "7").touch()  # so that nothing can be written there
    done = model_patching("run", "demo", "--root", "7", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("7/logs/")
    assert "can't be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1
