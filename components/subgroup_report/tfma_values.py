"""Values of TFMA's results, as `tfma.load_eval_result` gives them."""

from typing import Any

from model_patching.components.subgroup_report.summary import number

Metric = dict[str, Any]


def value_of(metric: Metric) -> float:
    """A metric's value, with an interval or without; NaN where TFMA says so."""
    bounded = metric.get("boundedValue")
    return float(metric["doubleValue"] if bounded is None else bounded["value"])


def interval_of(metric: Metric) -> list[float | None] | None:
    """A metric's 95 % interval [low, high]; None without one."""
    bounded = metric.get("boundedValue")
    if bounded is None:
        return None
    interval = [number(float(bounded[end])) for end in ("lowerBound", "upperBound")]
    return None if None in interval else interval
