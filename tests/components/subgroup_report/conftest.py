"""Hand-made inputs of a report."""

import io
import itertools
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.mistakes import read_pictures
from model_patching.components.subgroup_report.nodes import Nodes
from model_patching.components.subgroup_report.report import render
from model_patching.components.subgroup_report.score import Answer, Mistake, Scores
from model_patching.components.subgroup_report.sheets import read_sheets
from model_patching.components.subgroup_report.summary import EvaluatedSlices, build_summary
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


def png(value, size=28):
    """An image of one grey."""
    buffer = io.BytesIO()
    Image.new("L", (size, size), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def scores():
    """Of the pass over the test split: even / zigzag has two mistakes, odd / clean one, without renditions."""

    def mistake(name, predicted, *probabilities):
        right = 1 - predicted
        first, *others = [
            Answer(png(40 * place), right if probability < 0 else predicted, abs(probability))
            for place, probability in enumerate(probabilities)
        ]
        return Mistake(name, first, tuple(others))

    return Scores(
        counts=GroupCounts(np.array([[95, 92], [45, 97]]), np.array([[100, 100], [50, 100]])),
        rendered=np.array([[100, 100], [0, 100]]),
        changed=np.array([[3, 20], [0, 0]]),
        mistakes={
            (0, 0): [],
            (0, 1): [mistake("digit-7", 1, 0.998, -0.75, 0.96), mistake("digit-3", 1, 0.6, 0.7, -0.8)],
            (1, 0): [mistake("digit-4", 0, 0.55)],
            (1, 1): [],
        },
    )


@pytest.fixture
def nodes():
    """Those of a run whose evaluation came from the cache."""
    examples, model, evaluation = (
        {"id": number, "type": kind, "path": f"{place}/{number}"}
        for number, kind, place in (
            (1, "Examples", "ExampleGen/examples"),
            (4, "Model", "RobustTrainer/model"),
            (9, "ModelEvaluation", "Evaluator/evaluation"),
        )
    )
    return Nodes(
        {"ExampleGen": 3.0, "RobustTrainer": 181.4, "Evaluator": None},
        [
            {"node": "ExampleGen", "cached": False, "inputs": [], "outputs": [examples]},
            {"node": "RobustTrainer", "cached": False, "inputs": [examples], "outputs": [model]},
            {"node": "Evaluator", "cached": True, "inputs": [examples, model], "outputs": [evaluation]},
        ],
    )


@pytest.fixture
def manifest():
    """As `model-patching data build` leaves it, as far as the report reads it."""
    return {
        "name": "digits of one parity",
        "inputs": {"source": {"files": {"images": "ab" * 32, "digits.csv": "cd" * 32}}, "seed": 5},
        "skipped": [{"place": "digits.csv, row 3", "reason": "no such file"}],
        "warnings": ["train: group 'even / zigzag' has 100 records, published are 200"],
        "citation": "MNIST, by LeCun & others",
        "licence": None,
    }


@pytest.fixture
def summarize(dataset, training, scores, nodes):
    """A function that builds a summary; keyword arguments replace `build_summary`'s."""

    def make(**changes):
        arguments = {
            "pipeline": "model_patching",
            "run_id": "run-7",
            "dataset_name": "mnist_correlation",
            "dataset": dataset,
            "manifest": None,
            "training": training(),
            "baseline_training": training("erm"),
            "translator_trainings": [],
            "translation_thresholds": TranslationThresholds(),
            "candidate": GroupCounts(np.array([[95, 92], [45, 97]]), np.array([[100, 100], [50, 100]])),
            "baseline": GroupCounts(np.array([[99, 10], [2, 100]]), np.array([[100, 100], [50, 100]])),
            "evaluator": EvaluatorSettings(baseline="erm", min_worst_group_accuracy=0.85),
            "blessed": True,
            "scores": replace(scores, mistakes={}),  # whose images a page would need
            "nodes": nodes,
            "versions": {"tfx": "1.21.0", "keras": "0.0.0"},
        }
        return build_summary(**arguments | changes)

    return make


@pytest.fixture
def make_slice():
    """A function that makes a slice of one class, of 50 examples; keyword arguments replace what it has."""

    def make(name, accuracy, **more):
        nothing = dict.fromkeys(("auc", "precision", "recall", "confusion_matrix", "intervals", "subgroup"))
        figures = {
            "accuracy": accuracy,
            "ci_low": 0.2,
            "ci_high": 0.9,
            "cross_entropy": 0.5,
            "calibration_error": 0.1,
        }
        return {"name": name, "label": 1, "features": {}, "count": 50, **nothing, **figures, **more}

    return make


@pytest.fixture
def slices_with_intervals(make_slice):
    """All examples, a class, a group, and a slice by a feature; all have intervals, two have tables of classes."""
    of_class = {name: [0.25, 0.75] for name in ("accuracy", "cross_entropy", "calibration_error")}
    of_several = of_class | {name: [[0.25, 0.75], None] for name in ("auc", "precision", "recall")}
    several = {
        "label": None,
        "auc": [0.985, 0.985],
        "precision": [0.959, 0.916],
        "recall": [0.935, 0.947],
        "confusion_matrix": [[187, 13], [8, 142]],
        "intervals": of_several,
    }
    return EvaluatedSlices(
        [
            make_slice("all", 0.94, **several | {"count": 350}),
            make_slice("odd", 0.947, intervals=of_class),
            make_slice("odd / zigzag", 0.97, intervals=of_class),
            make_slice("camera: a <wide> one of 1967", 0.9, **several | {"features": {"camera": "…"}}),
        ],
        {
            "worst_group_accuracy": [0.8, 0.95],
            "subgroup_gap": {"largest": [0.01, 0.09], "per_class": {"even": None, "odd": [0.01, 0.09]}},
        },
    )


@pytest.fixture
def translators(tmp_path, translator_training):
    """A function that gives trainings and sheets of translator models, one for each label."""

    def make(labels, dataset):
        buffer = io.BytesIO()
        Image.new("L", (16, 10)).save(buffer, "PNG")
        trainings, sheets = [], []
        for label in labels:
            training = translator_training(label, dataset)
            folder = tmp_path / f"model-{label}" / "sheets"
            folder.mkdir(parents=True)
            for selected in training["selected"]:
                for step in (250, 500, 750):
                    source, target = selected["pair"]
                    (folder / f"{source}-{target}-step{step:06d}.png").write_bytes(buffer.getvalue())
            trainings.append(training)
            sheets += read_sheets(str(folder.parent), training, dataset, 2)
        return trainings, sheets

    return make


class FullReport(NamedTuple):
    """A page with everything that a page can have, and the summary that it shows."""

    html: str
    summary: dict[str, Any]


@pytest.fixture
def full_report(summarize, training, translators, dataset, scores, manifest, slices_with_intervals):
    trainings, sheets = translators([None], dataset)
    summary = summarize(
        translator_trainings=trainings,
        translation_thresholds=TranslationThresholds(min_flip_rate=0.5, max_cycle_error=0.1),
        manifest=manifest,
        scores=scores,
        candidate_slices=slices_with_intervals,
    )
    html = render(summary, training(), training("erm"), trainings, sheets, read_pictures(scores))
    return FullReport(html, summary)
