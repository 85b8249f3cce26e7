"""The block `translation` of `summary.json`: what the diagnoses of all translators have come to."""

from collections.abc import Sequence
from typing import Any

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.subgroup_report.text import percent
from model_patching.data.dataset import Dataset

# A bound on each → (what it bounds, where the worst is): "min_flip_rate" → ("flip_rate", min).
_WORST = {
    bound: (bound.split("_", 1)[1], {"min": min, "max": max}[bound.split("_", 1)[0]])
    for bound in TranslationThresholds.model_fields
}


def build_translation(
    trainings: Sequence[dict[str, Any]], thresholds: TranslationThresholds, dataset: Dataset
) -> dict[str, Any] | None:
    """Builds the block from the step that was kept of each pair of each model.

    Args:
        trainings: `training.json` of every CycleGANTrainer; one for all classes or one a class.
        thresholds: what the configuration asks for.
        dataset: names classes and subgroups.

    Returns:
        JSON-ready; see `summary.json` in the README for the keys. Directions come in the order source, target, class.
        None without translators.

    Raises:
        ValueError: the step that was kept has no diagnosis.
    """
    if not trainings:
        return None
    directions = [
        direction
        for training in trainings
        for selected in training["selected"]
        for direction in _diagnosis(training, selected)["directions"]
    ]
    directions.sort(
        key=lambda row: (
            dataset.subgroups.index(row["source"]),
            dataset.subgroups.index(row["target"]),
            row["label"],
        )
    )
    return {
        **{bound: _worst_value(directions, bound) for bound in _WORST},
        "directions": directions,
        "probes": [
            {"model": training["label"], **probe} for training in trainings for probe in training["probes"]
        ],
        "selected": [
            {
                "model": training["label"],
                "pair": [dataset.subgroups[subgroup] for subgroup in selected["pair"]],
                **{key: selected[key] for key in ("step", "steps_done", "stopped_early")},
            }
            for training in trainings
            for selected in training["selected"]
        ],
        "thresholds": thresholds.model_dump(),
    }


def worst_direction(directions: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The direction with the lowest score, the first of equals; None if none was measured."""
    measured = [row for row in directions if row["score"] is not None]
    return min(measured, key=lambda row: row["score"], default=None)


def in_words(translation: dict[str, Any]) -> str:
    """One line: "worst flip rate 98.4 % (odd, clean → zigzag), class kept 97.9 % (…), distance left 3.1 % (…)"."""
    return "worst " + ", ".join(
        f"{name} {percent(translation[bound])}{_where(translation, bound)}"
        for name, bound in (
            ("flip rate", "min_flip_rate"),
            ("class kept", "min_class_kept"),
            ("distance left", "max_distance_left"),
        )
    )


def _worst_value(directions: Sequence[dict[str, Any]], bound: str) -> float | None:
    """The worst over the directions that could be measured."""
    key, worst = _WORST[bound]
    return worst((row[key] for row in directions if row[key] is not None), default=None)


def _where(translation: dict[str, Any], bound: str) -> str:
    for row in translation["directions"]:
        if translation[bound] is not None and row[_WORST[bound][0]] == translation[bound]:
            return f" ({row['class']}, {row['source']} → {row['target']})"
    return ""


def _diagnosis(training: dict[str, Any], selected: dict[str, Any]) -> dict[str, Any]:
    for diagnosis in training["diagnoses"]:
        if (diagnosis["pair"], diagnosis["step"]) == (selected["pair"], selected["step"]):
            return diagnosis
    raise ValueError(
        f"the CycleGANTrainer's training.json has no diagnosis of step {selected['step']}, "
        f"which was kept of the pair {selected['pair']}"
    )
