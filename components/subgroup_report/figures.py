"""The charts of reports and comparisons, as SVG that takes on the page's text colour and fonts."""

import io
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

THIS_MODEL = "#2f7fe0"  # both are readable on white as on near-black
BASELINE = "#e08a1e"
PAIRS = (
    THIS_MODEL,
    BASELINE,
    "#2c9f6b",
    "#c95fb0",
    "#8f74e0",
    "#a5822f",
)  # of subgroups; then from the first again

# Stands for CSS's currentColor, which Matplotlib doesn't know; no chart uses it for anything else.
_TEXT = "#010203"
_DPI = 200  # of charts that become pixels
_WIDTH = 4.2  # inches, 400 CSS pixels: about a phone's width, so the lettering keeps its size there


def group_accuracy(summary: dict[str, Any]) -> Markup:
    """`group_accuracy_figure` for a page."""
    return _svg(group_accuracy_figure(summary), "group-accuracy")


def group_accuracy_figure(summary: dict[str, Any]) -> Figure:
    """A row a group: accuracy with its 95 % interval, this model's above the baseline's."""
    groups = summary["groups"]
    series = [("this model", groups, THIS_MODEL)]
    if summary["baseline"]:
        series.append(("baseline", summary["baseline"]["groups"], BASELINE))

    figure, (axes,) = _figure(height=0.9 + 0.42 * len(groups))
    for order, (name, rows, colour) in enumerate(series):
        offset = 0.32 * (order - (len(series) - 1) / 2)
        seen = [(index + offset, row) for index, row in enumerate(rows) if row["accuracy"] is not None]
        values = [100 * row["accuracy"] for _, row in seen]
        axes.errorbar(
            values,
            [position for position, _ in seen],
            xerr=[
                # The interval's end may miss the accuracy by a rounding error, at 0 and 100 %.
                [max(0.0, value - 100 * row["ci_low"]) for value, (_, row) in zip(values, seen, strict=True)],
                [
                    max(0.0, 100 * row["ci_high"] - value)
                    for value, (_, row) in zip(values, seen, strict=True)
                ],
            ],
            fmt="o",
            markersize=4,
            capsize=2.5,
            color=colour,
            label=name,
        )
    # Names are no formulas: a class may be called "$5".
    axes.set_yticks(range(len(groups)), [group["name"] for group in groups], parse_math=False)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("accuracy, %")
    axes.grid(axis="x", color=_TEXT, alpha=0.15)
    _legend(figure, columns=len(series))
    return figure


def training_curves(runs: Sequence[tuple[str, dict[str, Any]]]) -> Markup:
    """Worst-group and average validation accuracy an epoch, the epoch that was kept marked.

    Args:
        runs: (name, `training.json`) of this model and, if there is one, of the baseline.
    """
    figure, (axes,) = _figure(height=2.9)
    for (name, training), colour in zip(runs, (THIS_MODEL, BASELINE), strict=False):
        epochs = [entry["epoch"] for entry in training["history"]]
        for metric, style in (("worst_group_accuracy", "-"), ("average_accuracy", ":")):
            values = [100 * entry["validation"][metric] for entry in training["history"]]
            label = f"{name}, {'worst group' if style == '-' else 'average'}"
            axes.plot(
                epochs, values, style, color=colour, label=label, marker="." if len(epochs) == 1 else None
            )
            if style == "-" and training["selected_epoch"] in epochs:
                kept = epochs.index(training["selected_epoch"])
                axes.plot(epochs[kept], values[kept], "o", color=colour, markersize=7)
    axes.set_ylim(-2, 102)
    axes.set_xlabel("epoch (dot: the one that was kept)")
    axes.set_ylabel("validation accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=_TEXT, alpha=0.15)
    _legend(figure, columns=2)
    return _svg(figure, "training-curves")


def translation_curves(trainings: Sequence[dict[str, Any]], dataset: dict[str, Any]) -> Markup:
    """Worst flip rate (solid), class kept (dotted) and score (dashed) of each pair over the training; the kept step.

    Args:
        trainings: `training.json` of every CycleGANTrainer; each gets a chart of its own, below the one before.
        dataset: of the summary, names classes and subgroups.
    """
    height = 0.5 + 0.2 * len(trainings[0]["selected"]) + 1.9 * len(trainings)
    figure, rows = _figure(height, rows=len(trainings))
    for axes, training in zip(rows, trainings, strict=True):
        for number, selected in enumerate(training["selected"]):
            source, target = (dataset["subgroups"][subgroup] for subgroup in selected["pair"])
            colour = PAIRS[number % len(PAIRS)]
            diagnoses = [entry for entry in training["diagnoses"] if entry["pair"] == selected["pair"]]
            steps = [entry["step"] for entry in diagnoses]
            for key, style in (("flip_rate", "-"), ("class_kept", ":"), ("score", "--")):
                values = [_worst_percent(entry["directions"], key) for entry in diagnoses]
                axes.plot(
                    steps,
                    values,
                    style,
                    color=colour,
                    marker="." if len(steps) == 1 else None,
                    label=f"{source} ↔ {target}" if axes is rows[0] and style == "-" else None,
                )
                kept = steps.index(selected["step"])
                axes.plot(steps[kept], values[kept], "o", color=colour, markersize=5)
        axes.set_ylim(-2, 102)
        axes.set_ylabel("worst, %")
        axes.grid(color=_TEXT, alpha=0.15)
        if training["label"] is not None:
            axes.set_title(
                dataset["classes"][training["label"]], loc="left", fontsize=9, color=_TEXT, parse_math=False
            )
    rows[-1].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    rows[-1].set_xlabel("step")
    _legend(figure, columns=1)
    return _svg(figure, "translation-curves")


def methods_figure(methods: Sequence[dict[str, Any]]) -> Figure:
    """A row a method: worst group above average; dots are the runs, whiskers mean ± standard deviation.

    Args:
        methods: what `compare_runs` made.
    """
    names = [_wrapped(method["method"]) for method in methods]
    series = [
        ("worst group", THIS_MODEL, [method["worst_group_accuracy"] for method in methods]),
        ("average", BASELINE, [method["average_accuracy"] for method in methods]),
    ]
    return _means_figure(names, series, columns=2)


def methods_chart(methods: Sequence[dict[str, Any]]) -> Markup:
    """`methods_figure` for a page."""
    return _svg(methods_figure(methods), "methods")


def groups_of_methods_chart(methods: Sequence[dict[str, Any]]) -> Markup:
    """A row a group: each method's accuracy there; dots are the runs, whiskers mean ± standard deviation.

    Args:
        methods: what `compare_runs` made.
    """
    names = [_wrapped(group["name"]) for group in methods[0]["groups"]]
    series = [
        (_wrapped(method["method"], 50), PAIRS[number % len(PAIRS)], method["groups"])
        for number, method in enumerate(methods)
    ]
    short = all(len(method["method"]) <= 16 for method in methods)
    return _svg(_means_figure(names, series, columns=2 if short else 1), "groups-of-methods")


def _means_figure(
    names: Sequence[str], series: Sequence[tuple[str, str, Sequence[dict[str, Any]]]], columns: int
) -> Figure:
    """A row a name, and in it one above the other the series: (label, colour, of each row mean, std and values)."""
    step = 0.8 / len(series)
    lines = sum(max(name.count("\n"), len(series)) for name in names)
    figure, (axes,) = _figure(height=0.9 + 0.2 * len(names) + 0.2 * lines + 0.15 * len(series))
    for order, (label, colour, figures) in enumerate(series):
        offset = step * (order - (len(series) - 1) / 2 - 0.2)
        seen = [(row + offset, one) for row, one in enumerate(figures) if one["mean"] is not None]
        axes.errorbar(
            [100 * one["mean"] for _, one in seen],
            [position for position, _ in seen],
            xerr=[100 * (one["std"] or math.nan) for _, one in seen],
            fmt="|",
            markersize=7,
            markeredgewidth=1.8,
            capsize=2,
            color=colour,
            label=label,
        )
        runs = [
            (100 * value, position + 0.4 * step)  # below the whiskers, or these would hide them
            for position, one in seen
            for value in one["values"]
            if value is not None
        ]
        axes.plot(*zip(*runs, strict=True), ".", markersize=5, color=colour, alpha=0.6)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("accuracy, %")
    axes.grid(axis="x", color=_TEXT, alpha=0.15)
    _legend(figure, columns=columns)
    return figure


def pixels(figure: Figure) -> np.ndarray:
    """A chart on white: uint8 [H, W, 3]."""
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _wrapped(name: str, width: int = 24) -> str:
    return textwrap.fill(name, width)


def _worst_percent(directions: Sequence[dict[str, Any]], key: str) -> float:
    """NaN, a gap in the curve, if no direction could be measured."""
    return 100 * min((row[key] for row in directions if row[key] is not None), default=math.nan)


def _figure(height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    all_axes = list(figure.subplots(rows, sharex=True, squeeze=False)[:, 0])
    for axes in all_axes:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("bottom", "left"):
            axes.spines[side].set_color(_TEXT)
        axes.tick_params(colors=_TEXT, labelsize=9)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set(color=_TEXT, fontsize=9)
    return figure, all_axes


def _legend(figure: Figure, columns: int) -> None:
    figure.legend(
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        labelcolor=_TEXT,
        handlelength=1.5,
        columnspacing=1.2,
    )


def _svg(figure: Figure, name: str) -> Markup:
    options = {
        "svg.fonttype": "none",  # text stays text: searchable, in the page's font
        "svg.hashsalt": name,  # ids that are the same on every run and differ between charts
    }
    buffer = io.StringIO()
    with matplotlib.rc_context(options):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_TEXT, "currentColor")
    svg = re.sub(r'<g id="\w+">', "<g>", svg)  # nothing refers to these, and each chart has the same ones
    return Markup(svg)  # Matplotlib has escaped the names in it
