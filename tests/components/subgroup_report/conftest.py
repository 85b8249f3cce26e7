"""Hand-made inputs of a report."""

import itertools

import numpy as np
import pytest

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.settings import EvaluatorSettings
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
def unmeasured():
    """What a diagnosis says of a direction without images."""
    measures = (
        "flip_rate",
        "class_kept",
        "passed",
        "distance_left",
        "score",
        "cycle_error",
        "identity_error",
    )
    return dict.fromkeys(measures) | {"count": 0, "class_count": 0}


@pytest.fixture
def translator_training(dataset):
    """A function that makes the `training.json` of a CycleGANTrainer, whose every figure tells where it belongs.

    Diagnoses are at the steps 250, 500 and 750, and 500 was kept. There a flip rate is 0.99 − 0.01 · (2 · source +
    target) − 0.1 · label, the class kept 0.005 below it, `passed` 0.01 below it.
    """

    def make(label=None, dataset=dataset):
        labels = range(dataset.num_classes) if label is None else [label]
        pairs = list(itertools.combinations(range(dataset.num_subgroups), 2))

        def direction(source, target, y, loss):
            flip_rate = 0.99 - 0.01 * (2 * source + target) - 0.1 * y - loss
            return {
                "label": y,
                "class": dataset.classes[y],
                "source": dataset.subgroups[source],
                "target": dataset.subgroups[target],
                "pair": [source, target],
                "count": 1000 + y,
                "class_count": 900 + y,
                "flip_rate": flip_rate,
                "class_kept": flip_rate - 0.005,
                "passed": flip_rate - 0.01,
                "distance_left": 0.03 + 0.001 * target,
                "score": (flip_rate - 0.01) * (0.97 - 0.001 * target),
                "cycle_error": 0.02 + 0.001 * source,
                "identity_error": 0.01 + 0.001 * target,
            }

        diagnoses = []
        for pair in pairs:
            for step, loss in ((250, 0.3), (500, 0), (750, 0.05)):
                directions = [direction(s, t, y, loss) for s, t in (pair, pair[::-1]) for y in labels]
                score = min(row["score"] for row in directions)
                diagnoses.append({"pair": list(pair), "step": step, "score": score, "directions": directions})
        return {
            "method": "cyclegan",
            "label": label,
            "image_shape": list(dataset.image_shape),
            "seed": 3,
            "settings": {"steps": 900, "take": None, "probe": {"steps": 400}},
            "versions": {},
            "history": [],
            "probes": [
                {
                    "label": y,
                    "subgroup": z,
                    "name": dataset.group_names[dataset.group_index(y, z)],
                    "count": 50,
                    "class_accuracy": 0.97 - 0.01 * y,
                    "subgroup_accuracy": 0.998 - 0.001 * z,
                }
                for y in range(dataset.num_classes)
                for z in range(dataset.num_subgroups)
            ],
            "diagnoses": diagnoses,
            "selected": [
                {"pair": list(pair), "step": 500, "steps_done": 750, "stopped_early": True} for pair in pairs
            ],
        }

    return make


@pytest.fixture
def three_subgroups():
    """A data set with a third subgroup."""
    return Dataset(
        classes=("even", "odd"), subgroups=("clean", "zigzag", "dotted line"), image_shape=(28, 28, 1)
    )


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
            "translator_trainings": [],
            "translation_thresholds": TranslationThresholds(),
            "candidate": GroupCounts(np.array([[95, 92], [45, 97]]), np.array([[100, 100], [50, 100]])),
            "baseline": GroupCounts(np.array([[99, 10], [2, 100]]), np.array([[100, 100], [50, 100]])),
            "evaluator": EvaluatorSettings(baseline="erm", min_worst_group_accuracy=0.85),
            "blessed": True,
            "timings": {"CycleGANTrainer": 181.4, "Evaluator": None},
            "versions": {"tfx": "1.21.0", "keras": "0.0.0"},
        }
        return build_summary(**arguments | changes)

    return make
