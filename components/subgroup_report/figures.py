"""The report's charts, as SVG that takes on the page's text colour and fonts."""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

THIS_MODEL = "#2f7fe0"  # both are readable on white as on near-black
BASELINE = "#e08a1e"

# Stands for CSS's currentColor, which Matplotlib doesn't know; no chart uses it for anything else.
_TEXT = "#010203"
_WIDTH = 4.2  # inches, 400 CSS pixels: about a phone's width, so the lettering keeps its size there


def group_accuracy(summary: dict[str, Any]) -> Markup:
    """A row a group: accuracy with its 95 % interval, this model's above the baseline's."""
    groups = summary["groups"]
    series = [("this model", groups, THIS_MODEL)]
    if summary["baseline"]:
        series.append(("baseline", summary["baseline"]["groups"], BASELINE))

    figure, axes = _figure(height=0.9 + 0.42 * len(groups))
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
    axes.set_xlabel("accuracy on the test split, %")
    axes.grid(axis="x", color=_TEXT, alpha=0.15)
    _legend(figure, columns=len(series))
    return _svg(figure, "group-accuracy")


def training_curves(runs: Sequence[tuple[str, dict[str, Any]]]) -> Markup:
    """Worst-group and average validation accuracy an epoch, the epoch that was kept marked.

    Args:
        runs: (name, `training.json`) of this model and, if there is one, of the baseline.
    """
    figure, axes = _figure(height=2.9)
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


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(_TEXT)
    axes.tick_params(colors=_TEXT, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=_TEXT, fontsize=9)
    return figure, axes


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
