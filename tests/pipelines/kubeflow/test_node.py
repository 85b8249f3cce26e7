"""The processes of steps, as far as they come without TFX: `tests/slow/test_kubeflow.py` has the rest."""

import subprocess
import sys

import pytest

NODE = ["node", "--ir", "/nowhere.json", "--node", "ExampleGen", "--run-id", "one"]
PREPARE = [
    "prepare", "--config", "{}", "--graph", "{}", "--run-id", "one", "--ir-output", "ir", "--run-id-output", "id",
]  # fmt: skip
VERDICT = ["verdict", "--run-id", "one", "--blessed-output", "blessed"]


def run(arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", f"model_patching.pipelines.kubeflow.{arguments[0]}", *arguments[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("arguments", [NODE, PREPARE, VERDICT], ids=lambda arguments: arguments[0])
def test_a_store_that_refuses_is_the_last_line(arguments, mariadb, tmp_path):
    done = run(
        [*arguments, "--metadata", mariadb.url("metadb")], tmp_path, MODEL_PATCHING_METADATA_PASSWORD="wrong"
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        f"ML Metadata on MySQL at host 127.0.0.1, port {mariadb.port}, database metadb, user metadata: the server "
    )
    assert "wrong" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "last"),
    [
        (["--run-id", "../up"], "run_id: '../up' must be letters, digits, and . _ - between them"),
        (["--set", "seed=1 'x"], "overrides: seed=1 'x: No closing quotation"),
        (["--set", "root=/tmp"], "overrides: root=/tmp: is settled when the pipeline is compiled; compile it again "),
        (["--set", "training.epochs=x"], "overrides: training.epochs: 'x' is not an integer"),
    ],
)  # fmt: skip
def test_what_is_filled_in_wrongly_is_the_last_line(options, last, tmp_path):
    config = '{"data": {"mnist_correlation": {}}}'
    arguments = [
        *PREPARE,
        "--config",
        config,
        "--metadata",
        f"sqlite:///{tmp_path}/metadata.sqlite",
        *options,
    ]
    done = run(arguments, tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(last)
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.sqlite"]


def test_a_reason_that_cannot_be_written_ends_the_step_all_the_same(tmp_path):
    script = f"""
from pathlib import Path
from model_patching.pipelines import step
step.TERMINATION_LOG = Path({str(tmp_path)!r})  # a folder
def fail():
    raise ValueError("why")
step.run_step(fail)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "✗ run failed: ValueError: why"


def test_a_run_that_is_not_blessed_says_so_last(tmp_path):
    done = run(["not_blessed"], tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith("the model was not blessed, and nothing was pushed")
