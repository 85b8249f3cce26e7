"""How figures are written, in the report as on the terminal."""

import math
from typing import Any

MISSING = "–"


def percent(value: float | None, digits: int = 1) -> str:
    """0.9638 → "96.4 %"; `digits` are those after the point."""
    if value is None:
        return MISSING
    # Adding 0.0 turns -0.0 into 0.0.
    return f"{round(100 * value, digits) + 0.0:.{digits}f} %".replace("-", "−")


def apart(asked: float, found: float | None) -> tuple[str, str]:
    """Two percentages with as many digits as tell them apart: (0.97, 0.9697) → ("97.00 %", "96.97 %")."""
    for digits in range(1, 10):
        texts = percent(asked, digits), percent(found, digits)
        if found is None or texts[0] != texts[1]:
            break
    return texts


def error(value: float | None) -> str:
    """A mean distance of pixels, a loss: 0.03156 → "0.032"."""
    return MISSING if value is None else f"{value:.3f}"


def points(value: float | None, before: float | None) -> str:
    """Difference of two accuracies in percentage points: (0.96, 0.11) → "+85.0"."""
    if value is None or before is None:
        return MISSING
    difference = round(100 * (value - before), 1)
    return f"{difference:+.1f}".replace("-", "−") if difference else "0.0"


def missed_by(difference: float | None) -> str:
    """A positive difference of accuracies: 0.021 → "2.1 points", 0.000312 → "0.031 points"."""
    if difference is None:
        return MISSING
    return f"{100 * difference:.1f} points" if difference >= 0.0005 else f"{100 * difference:.2g} points"


def interval(group: dict[str, Any]) -> str:
    """A group of the summary → "95.9–96.9 %"."""
    if group["ci_low"] is None:
        return MISSING
    return f"{100 * group['ci_low']:.1f}–{100 * group['ci_high']:.1f} %"


def bounds(ends: list[float] | None, percentages: bool, most: float | None = 1.0) -> str:
    """An interval of TFMA's: [0.9512, 0.9688] → "95.1–96.9 %", [0.1, 0.2] → "0.100–0.200".

    Args:
        ends: None where there is none. One without width, of samples that all agree, says nothing and isn't written.
        percentages: whether it is of shares.
        most: what the metric can be at most; it is never below 0. A t-interval goes beyond both, and is cut off here.
    """
    if ends is None or math.isclose(*ends, abs_tol=1e-9):
        return MISSING
    low, high = (max(0.0, end if most is None else min(most, end)) for end in ends)
    return f"{100 * low:.1f}–{100 * high:.1f} %" if percentages else f"{low:.3f}–{high:.3f}"


def seconds(value: float) -> str:
    """75.2 → "1 min 15 s", 3.21 → "3.2 s"."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
