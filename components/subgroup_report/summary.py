"""`summary.json`: the figures of a run, from plain inputs. The report shows these and computes none of its own."""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.group_metrics import GroupCounts, group_metrics, wilson_interval
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.consistency import build_consistency
from model_patching.components.subgroup_report.data_card import build_data, name_of_data
from model_patching.components.subgroup_report.missed_thresholds import missed_thresholds
from model_patching.components.subgroup_report.mistakes import build_mistakes
from model_patching.components.subgroup_report.translation import build_translation
from model_patching.data.dataset import Dataset, Groups

if TYPE_CHECKING:  # they load TensorFlow, which predictions from elsewhere don't need
    from model_patching.components.subgroup_report.nodes import Nodes
    from model_patching.components.subgroup_report.score import Scores


class EvaluatedSlices(NamedTuple):
    """What else was measured of one model, JSON-ready; see `summary.json` in the README."""

    slices: list[dict[str, Any]] | None = None
    intervals: dict[str, Any] | None = None  # of worst-group accuracy and gaps, where TFMA computed some


NOTHING_ELSE = EvaluatedSlices()


def build_summary(
    *,
    pipeline: str,
    run_id: str,
    dataset_name: str,
    dataset: Dataset,
    manifest: dict[str, Any] | None,
    training: dict[str, Any],
    baseline_training: dict[str, Any] | None,
    translator_trainings: Sequence[dict[str, Any]],
    translation_thresholds: TranslationThresholds,
    candidate: GroupCounts,
    baseline: GroupCounts | None,
    evaluator: EvaluatorSettings,
    blessed: bool | None,
    scores: "Scores",
    nodes: "Nodes",
    versions: dict[str, str],
    candidate_slices: EvaluatedSlices = NOTHING_ELSE,
    baseline_slices: EvaluatedSlices | None = None,
) -> dict[str, Any]:
    """Builds the summary of a run.

    Args:
        pipeline, run_id: of the run that evaluated the model.
        dataset_name: of the configuration, for example "mnist_correlation"; the manifest's goes first.
        dataset: its classes and subgroups.
        manifest: of the records; None where they have none.
        training: the model's `training.json`.
        baseline_training: the baseline's, or None where there is none to be had.
        translator_trainings: `training.json` of every CycleGANTrainer.
        translation_thresholds: what the translators had to reach.
        candidate, baseline: counts of the test split.
        evaluator: the gate's settings.
        blessed: what the gate said; None if there was none.
        scores: of the pass over the test split.
        nodes: those that were done before the report.
        versions: of the packages that made the report. Where the model was trained with another one, that one is told.
        candidate_slices, baseline_slices: further metrics of the test split.

    Returns:
        JSON-ready; see `summary.json` in the README for the keys. Numbers that can't be had, such as the accuracy
        of a group without examples, are None.
    """
    # One set of weights for both models, or their averages couldn't be compared.
    train_count = np.asarray(training["group_counts"]["train"])
    baseline_block = None
    if baseline is not None:
        figures = model_block(
            baseline_training, baseline, train_count, dataset, *(baseline_slices or NOTHING_ELSE)
        )
        baseline_block = {"kind": evaluator.baseline, **figures}
    judged = {
        **model_block(training, candidate, train_count, dataset, *candidate_slices),
        "blessed": blessed,
        "thresholds": _thresholds(evaluator),
        "baseline": baseline_block,
    }
    return {
        "pipeline": pipeline,
        "run_id": run_id,
        "dataset": {
            "name": name_of_data(manifest, dataset_name),
            **dataset.model_dump(mode="json"),
        },
        **judged,
        "missed_thresholds": missed_thresholds(judged),
        "consistency": build_consistency(scores, dataset),
        "mistakes": build_mistakes(scores, dataset),
        "translation": build_translation(translator_trainings, translation_thresholds, dataset),
        "data": build_data(training, candidate, manifest),
        "timings": nodes.timings,
        "lineage": nodes.lineage,
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
    intervals: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The figures of one model.

    Args:
        training: its `training.json`, None where there is none.
        counts: of the test split.
        train_count: the weights of the average, see `group_metrics`.
        names: of the groups.
        slices, intervals: further metrics, see `EvaluatedSlices`.
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
        "intervals": intervals,
    }


def _thresholds(evaluator: EvaluatorSettings) -> dict[str, Any]:
    compares = evaluator.baseline != "none"
    return {
        "min_worst_group_accuracy": evaluator.min_worst_group_accuracy,
        "max_subgroup_gap": evaluator.max_subgroup_gap,
        "min_slice_accuracy": evaluator.min_slice_accuracy,
        "max_worst_group_drop": evaluator.max_worst_group_drop if compares else None,
        "max_accuracy_drop": evaluator.max_accuracy_drop,
        "max_gap_rise": evaluator.max_gap_rise,
    }


def number(value: float) -> float | None:
    """A number as JSON has it; None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None
