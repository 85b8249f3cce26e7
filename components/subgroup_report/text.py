"""How figures are written, in the report as on the terminal."""

from typing import Any

MISSING = "–"


def percent(value: float | None) -> str:
    """0.9638 → "96.4 %"."""
    if value is None:
        return MISSING
    # Adding 0.0 turns -0.0 into 0.0.
    return f"{round(100 * value, 1) + 0.0:.1f} %".replace("-", "−")


def error(value: float | None) -> str:
    """A mean distance of pixels, a loss: 0.03156 → "0.032"."""
    return MISSING if value is None else f"{value:.3f}"


def points(value: float | None, before: float | None) -> str:
    """Difference of two accuracies in percentage points: (0.96, 0.11) → "+85.0"."""
    if value is None or before is None:
        return MISSING
    difference = round(100 * (value - before), 1)
    return f"{difference:+.1f}".replace("-", "−") if difference else "0.0"


def interval(group: dict[str, Any]) -> str:
    """A group of the summary → "95.9–96.9 %"."""
    if group["ci_low"] is None:
        return MISSING
    return f"{100 * group['ci_low']:.1f}–{100 * group['ci_high']:.1f} %"


def seconds(value: float) -> str:
    """75.2 → "1 min 15 s", 3.21 → "3.2 s"."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
