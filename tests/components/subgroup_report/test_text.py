"""How figures are written."""

import pytest

from model_patching.components.subgroup_report.text import error, interval, percent, points, seconds


def test_percent():
    assert percent(0.9638) == "96.4 %"
    assert percent(1.0) == "100.0 %"
    assert percent(None) == "–"
    assert percent(-0.0123) == "−1.2 %"
    assert percent(-0.0001) == "0.0 %"


def test_error():
    assert error(0.03156) == "0.032"
    assert error(None) == "–"


@pytest.mark.parametrize(
    ("value", "before", "written"),
    [(0.96, 0.11, "+85.0"), (0.5, 0.75, "−25.0"), (0.5, 0.5, "0.0"), (0.5, 0.50001, "0.0"), (None, 0.5, "–")],
)
def test_points(value, before, written):
    assert points(value, before) == written


def test_interval():
    assert interval({"ci_low": 0.959, "ci_high": 0.9691}) == "95.9–96.9 %"
    assert interval({"ci_low": None, "ci_high": None}) == "–"


@pytest.mark.parametrize(
    ("value", "written"),
    [(3.21, "3.2 s"), (75.2, "1 min 15 s"), (60, "1 min 0 s"), (119.6, "2 min 0 s"), (7265, "2 h 1 min")],
)
def test_seconds(value, written):
    assert seconds(value) == written
