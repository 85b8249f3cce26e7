"""Hand-made inputs of a report."""

import numpy as np
import pytest

from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.evaluation import GroupCounts
from model_patching.components.subgroup_report.summary import build_summary
from model_patching.data.dataset import Dataset

TRAIN_COUNT = [[9900, 100], [100, 9900]]


@pytest.fixture
def dataset():
    return Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(28, 28, 1))


@pytest.fixture
def training():
    """A function that makes the `training.json` of a method."""

    def make(method="camel", seed=3):
        history = [
            {
                "epoch": epoch,
                "loss": 1 / epoch,
                "validation": {
                    "worst_group_accuracy": worst,
                    "average_accuracy": 0.9,
                    "group_accuracy": [[0.9, worst], [0.95, 0.95]],
                },
                "seconds": 12.5,
            }
            for epoch, worst in ((1, 0.5), (2, 0.8), (3, 0.7))
        ]
        return {
            "method": method,
            "seed": seed,
            "settings": {"epochs": 3, "optimizer": {"learning_rate": 0.02}},
            "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
            "group_counts": {"train": TRAIN_COUNT, "validation": TRAIN_COUNT},
            "history": history,
            "selected_epoch": 2,
        }

    return make


@pytest.fixture
def summarize(dataset, training):
    """A function that builds a summary; keyword arguments replace `build_summary`'s."""

    def make(**changes):
        arguments = {
            "pipeline": "model_patching",
            "run_id": "run-7",
            "dataset_name": "mnist_correlation",
            "dataset": dataset,
            "training": training(),
            "baseline_training": training("erm"),
            "candidate": GroupCounts(np.array([[95, 92], [45, 97]]), np.array([[100, 100], [50, 100]])),
            "baseline": GroupCounts(np.array([[99, 10], [2, 100]]), np.array([[100, 100], [50, 100]])),
            "evaluator": EvaluatorSettings(baseline="erm", min_worst_group_accuracy=0.85),
            "blessed": True,
            "timings": {"CycleGANTrainer": 181.4, "Evaluator": 9.25},
            "versions": {"tfx": "1.21.0", "keras": "0.0.0"},
        }
        return build_summary(**arguments | changes)

    return make
