"""`report.html`: one self-contained page that shows the figures of `summary.json`."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from model_patching.components.subgroup_report import figures, text


@dataclass(frozen=True)
class Sheet:
    """One sample sheet of a translator model: rows of source → rendition → cycled back."""

    title: str
    png: bytes

    @property
    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def render(
    summary: dict[str, Any],
    training: dict[str, Any],
    baseline_training: dict[str, Any] | None,
    sheets: list[Sheet],
    cached_nodes: set[str] = frozenset(),
) -> str:
    """Renders the page. Every figure in it is the summary's.

    Args:
        summary: what `build_summary` made.
        training, baseline_training: `training.json` of the model and the baseline, for curves and settings.
        sheets: sample sheets in the order to show them.
        cached_nodes: those of `summary["timings"]` that took their result from the cache.

    Returns:
        HTML that loads nothing from anywhere.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": text.percent,
        "points": text.points,
        "interval": text.interval,
        "seconds": text.seconds,
    }
    runs = [("this model", training)] + ([("baseline", baseline_training)] if baseline_training else [])
    return environment.get_template("report.html.j2").render(
        summary=summary,
        baseline_name=baseline_name(summary),
        verdict=verdict(summary),
        group_chart=figures.group_accuracy(summary),
        curves=figures.training_curves(runs) if training["history"] else None,
        runs=runs,
        settings=flatten(training["settings"]),
        sheets=sheets,
        cached_nodes=cached_nodes,
    )


def baseline_name(summary: dict[str, Any]) -> str | None:
    """What the baseline is, to a reader: "the ERM model"."""
    if summary["baseline"] is None:
        return None
    return {"erm": "the ERM model", "last_blessed": "the last blessed model"}[summary["baseline"]["kind"]]


def verdict(summary: dict[str, Any]) -> str:
    """The outcome in one sentence."""
    worst, baseline = summary["worst_group_accuracy"], summary["baseline"]
    if worst is None:
        return "Not blessed: the test split has no examples."
    sentence = f"worst-group accuracy {text.percent(worst)} ({summary['worst_group']})"
    if baseline:
        before = baseline["worst_group_accuracy"]
        sentence += (
            f", {text.points(worst, before)} points from {baseline_name(summary)}'s "
            f"{text.percent(before)} ({baseline['worst_group']})"
        )
    if summary["blessed"] is None:
        return f"Not gated: {sentence}."
    if summary["blessed"]:
        return f"Blessed: {sentence}."
    return f"Not blessed: {'; '.join([sentence, *_refusals(summary)])}."


def _refusals(summary: dict[str, Any]) -> list[str]:
    """Which thresholds were missed, in words."""
    thresholds, worst = summary["thresholds"], summary["worst_group_accuracy"]
    lowest, widest = thresholds["min_worst_group_accuracy"], thresholds["max_subgroup_gap"]
    drop, gap = thresholds["max_worst_group_drop"], summary["subgroup_gap"]["largest"]
    reasons = []
    if lowest is not None and worst < lowest:
        reasons.append(f"at least {text.percent(lowest)} was asked for")
    if widest is not None and (gap is None or gap > widest):
        reasons.append(
            f"the largest subgroup gap is {text.percent(gap)}, at most {text.percent(widest)} was asked for"
        )
    if summary["baseline"] and worst < summary["baseline"]["worst_group_accuracy"] - drop:
        reasons.append(f"at most {text.percent(drop)} below {baseline_name(summary)}'s was asked for")
    return reasons


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted keys: {"a": {"b": 1}} → {"a.b": 1}."""
    result = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            result |= flatten(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result
