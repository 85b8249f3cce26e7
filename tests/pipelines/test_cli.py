"""The command line, as a user's shell calls it."""

import json
import shlex
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
    for command in (
        "run",
        "presets",
        "config",
        "translate",
        "evaluate",
        "compare",
        "runs",
        "report",
        "slices",
    ):
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


@pytest.fixture
def translators(tmp_path: Path) -> Path:
    """The description of a model of translators between three subgroups, and an image."""
    folder = tmp_path / "model"
    folder.mkdir()
    description = {
        "subgroups": ["clean", "zigzag", "dotted line"],
        "image_shape": [8, 8, 1],
        "pairs": [[0, 1], [1, 0], [0, 2]],
        "translate_batch_size": 4,
        "normalizes_over_batch": False,
    }
    (folder / "translators.json").write_text(json.dumps(description))
    for path in ("one.png", "one.jpg", "one.zigzag.png", "other/one.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("nowhere one.png --to zigzag", "nowhere: there is no translators.json; give the folder of a CycleGANTrainer"),
        ("model one.png --to zigzg", "--to zigzg: the model has no such subgroup, did you mean 'zigzag'?; it has"),
        ("model one.png --to zigzag", "--from is needed, the model has more than two subgroups: clean, zigzag, dotted"),
        ("model one.png --to zigzag --from x", "--from x: the model has no such subgroup; it has clean, zigzag,"),
        ("model one.png --to zigzag --from zigzag", "--from and --to are both zigzag"),
        ("model one.png --to clean --from dotted\\ line", "model: has no translator dotted line → clean"),
        ("model two.png --to zigzag --from clean", "two.png: there is no such file"),
        ("model other --to zigzag --from clean", "other: there is no such file"),
        (
            "model one.png other/one.png --to zigzag --from clean",
            "one.png and other/one.png: both would be written to one.zigzag.png; give them one by one",
        ),
        ("model one.png one.jpg --to zigzag --from clean --output out", "both would be written to out/one.zigzag.png"),
        ("model one.png one.zigzag.png --to zigzag --from clean", "one.png: would be written over one.zigzag.png"),
        ("model one.png other/../one.zigzag.png --to zigzag --from clean", "would be written over one.zigzag.png"),
    ],
)  # fmt: skip
def test_a_wrong_argument_of_translate_is_one_line_and_exit_code_2(
    translators: Path, arguments: str, says: str
):
    before = sorted(translators.parent.rglob("*"))
    done = model_patching("translate", *shlex.split(arguments), cwd=translators.parent)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert sorted(translators.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ("{", "translators.json: not what a CycleGANTrainer writes: JSONDecodeError"),
        ("[]", "translators.json: not what a CycleGANTrainer writes: TypeError"),
        ('{"subgroups": ["clean", "zigzag"]}', "translators.json: not what a CycleGANTrainer writes: KeyError"),
    ],
)  # fmt: skip
def test_a_bad_description_of_translators_is_named(translators: Path, description: str, says: str):
    (translators / "translators.json").write_text(description)
    done = model_patching("translate", "model", "one.png", "--to", "zigzag", cwd=translators.parent)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
