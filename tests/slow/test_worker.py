"""A pipeline whose classifier is trained by two workers: this one's `run`, and another's `worker`."""

import json

SETTINGS = """
data:
  mnist_correlation: {train_size: 240, validation_size: 80, test_size: 100, min_group_size: 10}
training: {method: group_dro, epochs: 2, steps_per_epoch: 3, batch_size: 4, strategy: multi_worker}
evaluation: {baseline: none}
"""


def test_two_workers_train_the_classifier_of_a_pipeline(make_workspace, two_addresses):
    workspace = make_workspace("shared")
    (workspace.folder / "toy.yaml").write_text(SETTINGS)

    def be(index):
        task = {"cluster": {"worker": two_addresses}, "task": {"type": "worker", "index": index}}
        workspace.environment["TF_CONFIG"] = json.dumps(task)

    be(1)
    other = workspace.start("model-patching", "worker", "runs/model_patching/checkpoints/RobustTrainer")
    be(0)
    code, output = workspace.run("model-patching", "run", "toy.yaml")
    assert code == 0, output
    output, _ = other.communicate(timeout=60)
    assert other.returncode == 0, output

    record = json.loads((workspace.latest("RobustTrainer", "model_run") / "training.json").read_text())
    assert record["devices"] == 2 and len(record["history"]) == 2
    folder = workspace.folder / "runs/model_patching/checkpoints/RobustTrainer"
    assert not list(folder.iterdir()), "neither job nor checkpoints are left"


def test_the_first_worker_is_told_that_it_runs_the_pipeline(make_workspace):
    workspace = make_workspace("first")
    workspace.environment["TF_CONFIG"] = json.dumps({"task": {"type": "worker", "index": 0}})
    code, output = workspace.run("model-patching", "worker", "folder")
    assert code == 1
    assert output.splitlines()[-1] == (
        "TF_CONFIG must name a worker other than the first (the chief, or index 0): that one runs the pipeline"
    )
