"""How figures are written."""

import pytest

from model_patching.components.subgroup_report.text import (
    apart,
    bounds,
    error,
    interval,
    missed_by,
    percent,
    points,
    seconds,
)


def test_percent():
    assert percent(0.9638) == "96.4 %"
    assert percent(1.0) == "100.0 %"
    assert percent(None) == "–"
    assert percent(-0.0123) == "−1.2 %"
    assert percent(-0.0001) == "0.0 %"


@pytest.mark.parametrize(
    ("asked", "found", "written"),
    [
        (0.97, 0.9, ("97.0 %", "90.0 %")),
        (0.97, 0.9697, ("97.00 %", "96.97 %")),
        (0.97, 0.9699999, ("97.00000 %", "96.99999 %")),
        (0.97, None, ("97.0 %", "–")),
    ],
)
def test_what_was_asked_for_and_found_differ(asked, found, written):
    assert apart(asked, found) == written


def test_missed_by():
    assert [missed_by(value) for value in (0.021, 0.000312, None)] == ["2.1 points", "0.031 points", "–"]


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
    ("ends", "percentages", "most", "written"),
    [
        ([0.9512, 0.9688], True, 1, "95.1–96.9 %"),
        ([-0.163, 0.202], True, 1, "0.0–20.2 %"),
        ([0.98, 1.04], True, 1, "98.0–100.0 %"),
        ([0.9, 1.04], False, 1, "0.900–1.000"),
        ([-0.2, 1.3], False, None, "0.000–1.300"),
        ([0.75, 0.75 + 1e-16], True, 1, "–"),
        ([0.0, 1e-17], True, 1, "–"),
        (None, True, 1, "–"),
    ],
)
def test_bounds(ends, percentages, most, written):
    assert bounds(ends, percentages, most) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(3.21, "3.2 s"), (75.2, "1 min 15 s"), (60, "1 min 0 s"), (119.6, "2 min 0 s"), (7265, "2 h 1 min")],
)
def test_seconds(value, written):
    assert seconds(value) == written
