"""A pipeline whose classifiers are trained by two workers: this one's `run`, and another's `worker`."""

import json
import signal
import time

SETTINGS = """
data:
  mnist_correlation: {train_size: 240, validation_size: 80, test_size: 100, min_group_size: 10}
training: {method: group_dro, epochs: 2, steps_per_epoch: 3, batch_size: 4, strategy: multi_worker}
baseline: {epochs: 1, steps_per_epoch: 3, batch_size: 4, strategy: multi_worker}
evaluation: {baseline: erm}
"""


def test_two_workers_train_the_classifiers_of_a_pipeline(make_workspace, two_addresses):
    """Also when the first worker was killed in the middle of a training and begins anew."""
    workspace = make_workspace("shared")
    (workspace.folder / "toy.yaml").write_text(SETTINGS)
    folder = workspace.folder / "runs/model_patching/checkpoints"

    def be(index):
        task = {"cluster": {"worker": two_addresses}, "task": {"type": "worker", "index": index}}
        workspace.environment["TF_CONFIG"] = json.dumps(task)

    be(0)
    killed = workspace.start("model-patching", "run", "toy.yaml")
    while not list(folder.glob("*/job.json")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    be(1)
    other = workspace.start("model-patching", "worker", str(folder.relative_to(workspace.folder)))
    time.sleep(10)  # it takes part in the training of the killed one
    be(0)
    code, output = workspace.run("model-patching", "run", "toy.yaml")
    assert code in (0, 3), output
    assert other.poll() is None, "it waits for more"
    other.send_signal(signal.SIGINT)
    told, _ = other.communicate(timeout=60)
    assert other.returncode == 130, told

    for node, epochs in (("RobustTrainer", 2), ("BaselineTrainer", 1)):
        record = json.loads((workspace.latest(node, "model_run") / "training.json").read_text())
        assert record["devices"] == 2 and len(record["history"]) == epochs
        assert not list((folder / node).iterdir()), "neither job nor checkpoints are left"
        assert f"{node}/job.json: taking part" in told


def test_the_first_worker_is_told_that_it_runs_the_pipeline(make_workspace):
    workspace = make_workspace("first")
    workspace.environment["TF_CONFIG"] = json.dumps({"task": {"type": "worker", "index": 0}})
    code, output = workspace.run("model-patching", "worker", "folder")
    assert code == 1
    assert output.splitlines()[-1] == (
        "TF_CONFIG must name a worker other than the first (the chief, or index 0): that one runs the pipeline"
    )
