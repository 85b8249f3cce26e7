"""A pipeline whose classifiers are trained by two workers: this one's `run`, and another's `worker`."""

import json
import signal
import time

import pytest

SETTINGS = """
data:
  mnist_correlation: {train_size: 240, validation_size: 80, test_size: 100, min_group_size: 10}
training: {method: group_dro, epochs: 20, steps_per_epoch: 5, batch_size: 4, strategy: multi_worker}
baseline: {epochs: 1, steps_per_epoch: 3, batch_size: 4, strategy: multi_worker}
evaluation: {baseline: erm}
"""
FOLDER = "runs/model_patching/checkpoints"


@pytest.fixture
def start_as(two_addresses):
    """Starts a command in a workspace as the first worker (0) or the other one (1); its output goes to a file."""

    def start(index, workspace, *command):
        task = {"cluster": {"worker": two_addresses}, "task": {"type": "worker", "index": index}}
        workspace.environment["TF_CONFIG"] = json.dumps(task)
        path = workspace.folder / f"output-{len(workspace.started)}"
        with path.open("w") as output:
            return workspace.start("model-patching", *command, output=output), path

    return start


def wait_for(condition, process):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def test_two_workers_train_the_classifiers_of_a_pipeline(make_workspace, start_as):
    """Also when the first worker is killed in the middle of a training and begins anew."""
    workspace = make_workspace("shared")
    (workspace.folder / "toy.yaml").write_text(SETTINGS)
    folder = workspace.folder / FOLDER
    other, told = start_as(1, workspace, "worker", FOLDER)
    killed, _ = start_as(0, workspace, "run", "toy.yaml")
    wait_for(lambda: list(folder.glob("RobustTrainer/*/checkpoint")), killed)
    killed.send_signal(signal.SIGKILL)
    again, output = start_as(0, workspace, "run", "toy.yaml")
    assert again.wait(timeout=500) in (0, 3), output.read_text()

    said = told.read_text()
    assert said.count("RobustTrainer: taking part\n") == 2 and said.count("RobustTrainer: done\n") == 1
    assert said.count("BaselineTrainer: taking part\n") == said.count("BaselineTrainer: done\n") == 1
    assert other.poll() is None, "it waits for more"
    other.send_signal(signal.SIGINT)
    assert other.wait(timeout=60) == 130, told.read_text()
    for node, epochs in (("RobustTrainer", 20), ("BaselineTrainer", 1)):
        record = json.loads((workspace.latest(node, "model_run") / "training.json").read_text())
        assert record["devices"] == 2 and len(record["history"]) == epochs
        assert not list((folder / node).iterdir()), "no checkpoints are left"
    assert not [path for path in folder.iterdir() if path.is_file()], "no jobs are left"


def test_the_first_worker_is_told_when_another_one_cant_take_part(make_workspace, start_as):
    workspace = make_workspace("shared")
    (workspace.folder / "toy.yaml").write_text(SETTINGS)
    # The records' paths are relative and lead nowhere there.
    elsewhere = make_workspace("elsewhere")
    other, told = start_as(1, elsewhere, "worker", str(workspace.folder / FOLDER))
    first, output = start_as(0, workspace, "run", "toy.yaml")
    assert first.wait(timeout=500) == 1
    assert "another worker: runs/model_patching/ExampleGen/" in output.read_text(), told.read_text()
    assert other.poll() is None, "it waits for the next one"


def test_the_first_worker_is_told_that_it_runs_the_pipeline(make_workspace):
    workspace = make_workspace("first")
    workspace.environment["TF_CONFIG"] = json.dumps({"task": {"type": "worker", "index": 0}})
    code, output = workspace.run("model-patching", "worker", "folder")
    assert code == 1
    assert output.splitlines()[-1] == (
        "TF_CONFIG must name a worker other than the first (the chief, or index 0): that one runs the pipeline"
    )
