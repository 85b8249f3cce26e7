"""`report.html`: one self-contained page that shows the figures of `summary.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from model_patching.components.subgroup_report import figures
from model_patching.components.subgroup_report.page import page_environment
from model_patching.components.subgroup_report.picture import Picture
from model_patching.components.subgroup_report.translation import in_words, worst_direction
from model_patching.components.subgroup_report.verdict import baseline_name, verdict

if TYPE_CHECKING:  # it loads TensorFlow, which predictions from elsewhere don't need
    from model_patching.components.subgroup_report.sheets import PairSheets


def render(
    summary: dict[str, Any],
    training: dict[str, Any] | None = None,
    baseline_training: dict[str, Any] | None = None,
    translator_trainings: Sequence[dict[str, Any]] = (),
    sheets: Sequence["PairSheets"] = (),
    pictures: Mapping[str, Sequence[Picture]] = MappingProxyType({}),
    shows_mistakes: bool = True,
    sources: Mapping[str, str] | None = None,
) -> str:
    """Renders the page. Every figure in it is the summary's.

    Args:
        summary: what `build_summary` or `summarize_predictions` made.
        training, baseline_training, translator_trainings: `training.json` of the model, of the baseline and of each
            CycleGANTrainer, for curves and settings.
        sheets: sample sheets in the order to show them.
        pictures: of the summary's mistakes, see `read_pictures`.
        shows_mistakes: whether any were asked for.
        sources: what the figures come from, by name, where that isn't a run.

    Returns:
        HTML that loads nothing from anywhere.
    """
    runs = [
        (name, one)
        for name, one in (("this model", training), ("baseline", baseline_training))
        if one is not None
    ]
    return (
        page_environment(Path(__file__).parent)
        .get_template("report.html.j2")
        .render(
            summary=summary,
            baseline_name=baseline_name(summary),
            verdict=_sentence(verdict(summary)),
            group_chart=figures.group_accuracy(summary),
            curves=figures.training_curves(runs) if training and training["history"] else None,
            training=training,
            runs=runs,
            settings=flatten(training["settings"]) if training else {},
            sources=sources,
            **_translation(summary, translator_trainings),
            sheets=sheets,
            pictures=pictures,
            shows_mistakes=shows_mistakes,
            mistakes=_by_group(summary["mistakes"]),
            made=_makers(summary["lineage"]),
        )
    )


def _translation(summary: dict[str, Any], trainings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the section on translations shows beside the summary's figures."""
    translation = summary["translation"]
    if translation is None:
        return {"translation": None, "translation_settings": {}}
    subgroups = summary["dataset"]["subgroups"]
    return {
        "translation": translation,
        "translation_in_words": _sentence(in_words(translation)),
        "translation_curves": figures.translation_curves(trainings, summary["dataset"]),
        "translation_settings": flatten(trainings[0]["settings"]),
        "worst_direction": worst_direction(translation["directions"]),
        # Both the probe of a model for all classes and that of a class's own model are found under the class.
        "probes": {(probe["label"], subgroups[probe["subgroup"]]): probe for probe in translation["probes"]},
    }


def _by_group(mistakes: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The mistakes of each group that has some, by its name."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for mistake in mistakes:
        groups.setdefault(mistake["name"], []).append(mistake)
    return groups


def _makers(lineage: Sequence[dict[str, Any]]) -> dict[int, str]:
    """The node that made each artifact, by its id; a Resolver puts out what another has made."""
    makers: dict[int, str] = {}
    for node in lineage:
        for artifact in node["outputs"]:
            makers.setdefault(artifact["id"], node["node"])
    return makers


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted keys: {"a": {"b": 1}} → {"a.b": 1}."""
    result = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            result |= flatten(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result
