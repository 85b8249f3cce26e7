"""Two devices, or two workers, do what one does: the same losses, step for step, at an equal global batch."""

import json
import os
import subprocess
import sys

import pytest

# Dropout draws other masks on each device, so the network here has none.
SCRIPT = """
import itertools, json, sys
devices, arguments = int(sys.argv[1]), json.loads(sys.argv[2])
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * devices
)
import keras
import numpy as np
from model_patching.components.robust_trainer import train as module, validation
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.data.dataset import Dataset

class Notes:
    losses = []
    def log(self, step, values):
        if "train/loss" in values:
            self.losses.append(values["train/loss"])
    def summary(self, values): pass

def without_dropout(*arguments):
    return keras.models.clone_model(
        build(*arguments),
        clone_function=lambda layer: keras.layers.Dropout(0.0, seed=1, name=layer.name)
        if isinstance(layer, keras.layers.Dropout) else layer.__class__.from_config(layer.get_config()),
    )

right_each_epoch = arguments.pop("right_each_epoch")
if right_each_epoch is not None:
    def scripted(model, arrays):
        epochs = itertools.count(1)
        def logits():
            right = np.arange(len(arrays.label)) < next(epochs) * right_each_epoch
            return np.eye(2)[np.where(right, arrays.label, 1 - arrays.label)]
        return logits
    validation.for_each_batch = scripted

build, module.build_classifier = module.build_classifier, without_dropout
settings = RobustTrainerSettings(**arguments.pop("settings"))
dataset = Dataset(classes=("c0", "c1"), subgroups=("s0", "s1"), image_shape=(16, 16, 1))
module.train(dataset=dataset, settings=settings, seed=3, tracker=Notes(), **arguments)
print(json.dumps(Notes.losses))
"""
SETTINGS = {
    "epochs": 2,
    "steps_per_epoch": 10,
    "batch_size": 8,
    "learning_rate": 0.05,
    "mixed_precision": "off",
    "clip_norm": 1.0,
    "log_every": 1,
}


@pytest.fixture
def start(tmp_path, write_records, toy_records):
    """Starts a training in a process of its own, which doesn't outlive the test."""
    processes = []
    counts = [[30, 8], [9, 30]]
    train = write_records(tmp_path / "train.gz", toy_records(counts, (16, 16, 1), patched=True))
    validation = write_records(tmp_path / "validation.gz", toy_records(counts, (16, 16, 1), seed=1))

    def do(name, strategy, method, devices=1, tf_config=None, right_each_epoch=None, **settings):
        # IRM's penalty must count from the first step on: only it shows whether the devices take one mean together.
        changes = {"irm_anneal_steps": 0, "irm_penalty_weight": 1.0} if method == "irm" else {}
        arguments = {
            "train_paths": [train],
            "validation_paths": [validation],
            "checkpoints_dir": str(tmp_path / name / "checkpoints"),
            "model_dir": str(tmp_path / name / "model"),
            "model_run_dir": str(tmp_path / name / "model_run"),
            "settings": {**SETTINGS, **changes, **settings, "strategy": strategy, "method": method},
            "right_each_epoch": right_each_epoch,
        }
        environment = dict(os.environ)
        environment.pop("TF_CONFIG", None)
        if tf_config is not None:
            environment["TF_CONFIG"] = json.dumps(tf_config)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(devices), json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        processes.append(process)
        return process

    yield do
    for process in processes:
        process.kill()


def losses_of(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    losses = json.loads(output.strip().splitlines()[-1])
    assert len(losses) == 20
    return losses


@pytest.mark.parametrize("method", ["camel", "irm"])
def test_two_devices_of_one_machine(start, method):
    alone = losses_of(start("alone", "default", method))
    assert losses_of(start("mirrored", "mirrored", method, devices=2)) == pytest.approx(alone, abs=1e-4)
    assert alone[-1] != pytest.approx(alone[0], abs=1e-2)


@pytest.fixture
def start_workers(start, two_addresses):
    """Starts two workers; `right_each_epoch` has what each of them sees on validation."""

    def do(right_each_epoch=(None, None), **settings):
        return [
            start(
                "together",
                "multi_worker",
                "camel",
                tf_config={"cluster": {"worker": two_addresses}, "task": {"type": "worker", "index": index}},
                right_each_epoch=right_each_epoch[index],
                **settings,
            )
            for index in range(2)
        ]

    return do


def test_two_workers(start, start_workers, tmp_path):
    alone = losses_of(start("alone", "default", "camel"))
    for process in start_workers():
        assert losses_of(process) == pytest.approx(alone, abs=1e-4)
    assert (tmp_path / "together" / "model" / "saved_model.pb").is_file()
    assert (tmp_path / "together" / "model_run" / "training.json").is_file()


def test_workers_that_see_other_scores_decide_alike(start_workers, tmp_path):
    """The first sees 10 more that are right each epoch, the other none ever and would stop after two epochs."""
    processes = start_workers((10, 0), epochs=4, steps_per_epoch=5, patience=1, selection="average")
    for process in processes:
        losses_of(process)
    record = json.loads((tmp_path / "together" / "model_run" / "training.json").read_text())
    assert record["selected_epoch"] == 4 and not record["stopped_early"]
    # The first group's 30: 10 of 30 and 0 of 30 in the first epoch.
    assert record["history"][0]["validation"]["group_accuracy"][0][0] == pytest.approx(5 / 30)
