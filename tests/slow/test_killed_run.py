"""A pipeline that is killed while it trains goes on where it was, and ends with the same translators and classifier."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

# All that is random in the training: dropout, batch statistics, augmentations, the replay buffer, a gradient penalty.
SETTINGS = """
data:
  mnist_correlation: {train_size: 240, validation_size: 80, test_size: 100, min_group_size: 10}
translation:
  generator_filters: [4, 8]
  discriminator_filters: [4, 8]
  steps: 60
  batch_size: 4
  replay_buffer_size: 8
  norm: batchnorm
  dropout: 0.5
  gan_loss: bce
  gradient_penalty: wgan-gp
  augmentation: {rotation: 10, pad_and_crop: 2, flip_left_right: 0.5, crop: 0.1}
  checkpoint_every: 3
  diagnose_every: 10
  diagnose_images: 20
  sheet_every: 20
  log_every: 5
  probe: {filters: [4], steps: 10, batch_size: 4}
augmentation: {batch_size: 4}
training: {method: camel, epochs: 40, steps_per_epoch: 5, batch_size: 4, selection: last}
evaluation: {baseline: none}
"""


def weights(folder: Path, *names: str) -> list[np.ndarray]:
    """Of the SavedModels in a folder."""
    loaded = [tf.saved_model.load(str(folder / name)) for name in names]
    return [variable.numpy() for model in loaded for variable in model.variables]


def assert_equal_weights(one: list[np.ndarray], two: list[np.ndarray]) -> None:
    assert len(one) == len(two) > 10
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def kill_at_checkpoint(process, folder: Path, files: str, step: int) -> None:
    """Kills the process once the checkpoint of `step` or a later one is there."""
    while process.poll() is None:
        steps = [int(path.stem.partition("-")[2]) for path in folder.glob(f"{files}/ckpt-*.index")]
        if steps and max(steps) >= step:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            return
        time.sleep(0.02)
    raise AssertionError(f"ended before step {step}: {process.communicate()[0]}")


def halve_the_last_checkpoint(folder: Path, files: str) -> None:
    last = max(
        folder.glob(f"{files}/ckpt-*.data-*"), key=lambda path: int(path.name.split("-")[1].split(".")[0])
    )
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])


def test_a_killed_run_ends_with_the_weights_of_one_that_never_was(make_workspace):
    whole, killed = make_workspace("whole"), make_workspace("killed")
    for workspace in (whole, killed):
        (workspace.folder / "toy.yaml").write_text(SETTINGS)
    code, output = whole.run("model-patching", "run", "toy.yaml")
    assert code == 0, output

    pipeline = killed.folder / "runs" / "model_patching"
    of_translators, of_classifier = (
        pipeline / "checkpoints" / node for node in ("CycleGANTrainer", "RobustTrainer")
    )
    for step in (6, 30):
        process = killed.start("model-patching", "run", "toy.yaml")
        kill_at_checkpoint(process, of_translators, "*/0-1", step)
        assert not list((pipeline / "Augmenter").glob("*/*"))
    # The last checkpoint is half written: the one before is taken.
    halve_the_last_checkpoint(of_translators, "*/0-1")
    process = killed.start("model-patching", "run", "toy.yaml")
    kill_at_checkpoint(process, of_classifier, "*", 5)
    assert not list((pipeline / "Evaluator").glob("*/*"))
    halve_the_last_checkpoint(of_classifier, "*")
    code, output = killed.run("model-patching", "run", "toy.yaml")
    assert code == 0, output

    for node, folder, names in (
        ("CycleGANTrainer", "translators", ("0_to_1", "1_to_0")),
        ("RobustTrainer", "Format-Serving", ("",)),
    ):
        one, two = (
            weights(workspace.latest(node, "model") / folder, *names) for workspace in (whole, killed)
        )
        assert_equal_weights(one, two)
    trainings = [
        workspace.latest("RobustTrainer", "model_run") / "training.json" for workspace in (whole, killed)
    ]
    one, two = ([epoch["loss"] for epoch in json.loads(path.read_text())["history"]] for path in trainings)
    assert one == two and len(one) == 40
    for checkpoints in (of_translators, of_classifier):
        assert not list(checkpoints.iterdir()), "nothing is left of the checkpoints once the node is done"
