"""`summary.json`: the figures of a run, from plain inputs. The report shows these and computes none of its own."""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.group_metrics import GroupCounts, group_metrics, wilson_interval
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.translation import build_translation
from model_patching.data.dataset import Dataset, Groups


def build_summary(
    *,
    pipeline: str,
    run_id: str,
    dataset_name: str,
    dataset: Dataset,
    training: dict[str, Any],
    baseline_training: dict[str, Any] | None,
    translator_trainings: Sequence[dict[str, Any]],
    translation_thresholds: TranslationThresholds,
    candidate: GroupCounts,
    baseline: GroupCounts | None,
    evaluator: EvaluatorSettings,
    blessed: bool | None,
    timings: dict[str, float | None],
    versions: dict[str, str],
) -> dict[str, Any]:
    """Builds the summary of a run.

    Args:
        pipeline, run_id: of the run that evaluated the model.
        dataset_name: of the configuration, for example "mnist_correlation".
        dataset: its classes and subgroups.
        training: the model's `training.json`.
        baseline_training: the baseline's, or None where there is none to be had.
        translator_trainings: `training.json` of every CycleGANTrainer.
        translation_thresholds: what the translators had to reach.
        candidate, baseline: counts of the test split.
        evaluator: the gate's settings.
        blessed: what the gate said; None if there was none.
        timings: seconds of each node that was done before the report, None where it came from the cache.
        versions: of the packages that made the report. Where the model was trained with another one, that one is told.

    Returns:
        JSON-ready; see `summary.json` in the README for the keys. Numbers that can't be had, such as the accuracy
        of a group without examples, are None.
    """
    # One set of weights for both models, or their averages couldn't be compared.
    train_count = np.asarray(training["group_counts"]["train"])
    return {
        "pipeline": pipeline,
        "run_id": run_id,
        "dataset": {"name": dataset_name, **dataset.model_dump(mode="json")},
        **model_block(training, candidate, train_count, dataset),
        "blessed": blessed,
        "thresholds": _thresholds(evaluator),
        "baseline": None
        if baseline is None
        else {"kind": evaluator.baseline, **model_block(baseline_training, baseline, train_count, dataset)},
        "translation": build_translation(translator_trainings, translation_thresholds, dataset),
        "timings": timings,
        "versions": {**versions, **training["versions"]},
    }


def to_json(summary: dict[str, Any]) -> str:
    """The text of `summary.json`: keys in the order of `build_summary`, no NaN or infinity.

    Raises:
        ValueError: there is a number that JSON doesn't have.
    """
    return json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def model_block(
    training: dict[str, Any] | None,
    counts: GroupCounts,
    train_count: np.ndarray | None,
    names: Groups,
    slices: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The figures of one model.

    Args:
        training: its `training.json`, None where there is none.
        counts: of the test split.
        train_count: the weights of the average, see `group_metrics`.
        names: of the groups.
        slices: further metrics, see `predictions_summary`.
    """
    metrics = group_metrics(counts.correct, counts.count, train_count)
    low, high = wilson_interval(counts.correct, counts.count)
    groups = [
        {
            "label": label,
            "subgroup": subgroup,
            "name": names.group_names[names.group_index(label, subgroup)],
            "count": int(counts.count[label, subgroup]),
            "accuracy": number(metrics.accuracy[label, subgroup]),
            "ci_low": number(low[label, subgroup]),
            "ci_high": number(high[label, subgroup]),
        }
        for label, subgroup in np.ndindex(counts.count.shape)
    ]
    worst = metrics.worst_group
    return {
        "method": training and training["method"],
        "seed": training and training["seed"],
        "settings": training and {key: value for key, value in training["settings"].items() if key != "seed"},
        "average_accuracy": number(metrics.average_accuracy),
        "worst_group_accuracy": number(metrics.worst_group_accuracy),
        "worst_group": worst and names.group_names[names.group_index(*worst)],
        "subgroup_gap": {
            "largest": number(metrics.largest_subgroup_gap),
            "per_class": {
                name: number(gap) for name, gap in zip(names.classes, metrics.subgroup_gap, strict=True)
            },
        },
        "groups": groups,
        "slices": slices,
    }


def _thresholds(evaluator: EvaluatorSettings) -> dict[str, float | None]:
    return {
        "min_worst_group_accuracy": evaluator.min_worst_group_accuracy,
        "max_subgroup_gap": evaluator.max_subgroup_gap,
        "max_worst_group_drop": None if evaluator.baseline == "none" else evaluator.max_worst_group_drop,
    }


def number(value: float) -> float | None:
    """A number as JSON has it; None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None
