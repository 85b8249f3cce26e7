"""`report.html`: what it says, that it is self-contained, and that names can't break it."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.evaluation import GroupCounts
from model_patching.components.subgroup_report.report import Sheet, flatten, render, verdict
from model_patching.data.dataset import Dataset


class _Page(HTMLParser):
    """Collects a page's tags and rows of table cells."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.rows, self._in_cell = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data


@pytest.fixture
def html(summarize, training):
    return render(
        summarize(), training(), training("erm"), [Sheet("all classes, step-1200", b"\x89PNG")], {"Evaluator"}
    )


def test_group_rows_are_the_summarys(html):
    rows = _Page(html).rows
    assert ["even / zigzag", "100", "92.0 %", "85.0–95.9 %", "10.0 %", "5.5–17.4 %", "+82.0"] in rows
    assert ["odd / clean (worst)", "50", "90.0 %", "78.6–95.7 %", "4.0 %", "1.1–13.5 %", "+86.0"] in rows
    assert ["even", "3.0 %", "89.0 %", "−86.0"] in rows  # the gap of a class


def test_settings_timings_and_versions(html):
    rows = _Page(html).rows
    assert ["optimizer.learning_rate", "0.02"] in rows
    assert ["CycleGANTrainer", "3 min 1 s"] in rows
    assert ["Evaluator", "9.2 s, from the cache"] in rows
    assert ["keras", "3.15.1"] in rows
    assert ["max_subgroup_gap", "not set"] in rows


def test_loads_nothing(html):
    for tag, attributes in _Page(html).tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]{0,2})", html)) <= {"#p"}  # clip paths of the charts


def test_images_have_texts(html):
    tags = _Page(html).tags
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    pictures = [attributes for tag, attributes in tags if tag == "figure" and attributes.get("role") == "img"]
    assert len(pictures) == 2 and all(attributes["aria-label"] for attributes in pictures)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags


def test_hostile_names_stay_text(summarize, training):
    dataset = Dataset(
        classes=("<script>alert(1)</script>", "a & b"), subgroups=("$x$", '"'), image_shape=(8, 8, 1)
    )
    hostile = training("<img src=x onerror=alert(1)>")
    summary = summarize(dataset=dataset, dataset_name="<b>", training=hostile)
    html = render(summary, hostile, None, [Sheet('"><script>', b"")])
    tags = [tag for tag, _ in _Page(html).tags]
    assert "script" not in tags and "b" in tags and tags.count("img") == 1
    assert html.count("<b>") == 3  # the three figures in cards
    assert any(row[0] == "<script>alert(1)</script> / $x$" for row in _Page(html).rows if row)
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)
    assert "<svg" in html and "a &amp; b / $x$</text>" in html


def test_charts_follow_the_page(html):
    charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(charts) == 2
    for chart in charts:
        assert "currentColor" in chart and "#010203" not in chart
    ids = [set(re.findall(r'id="(\w+)"', chart)) for chart in charts]
    assert ids[0] and not ids[0] & ids[1]


def test_same_inputs_same_page(summarize, training):
    assert render(summarize(), training(), None, []) == render(summarize(), training(), None, [])


def test_without_baseline_and_sheets(summarize, training):
    summary = summarize(baseline=None, evaluator=EvaluatorSettings(baseline="none"))
    html = render(summary, training(), None, [])
    rows = _Page(html).rows
    assert ["even / zigzag", "100", "92.0 %", "85.0–95.9 %"] in rows
    assert "<h2>Translations</h2>" not in html
    assert "baseline" not in re.sub(r"max_worst_group_drop|dominant-baseline", "", html).lower()


def test_empty_group(summarize, training):
    counts = GroupCounts(np.array([[95, 0], [45, 97]]), np.array([[100, 0], [50, 100]]))
    rows = _Page(render(summarize(candidate=counts, baseline=counts), training(), None, [])).rows
    assert ["even / zigzag", "0", "–", "–", "–", "–", "–"] in rows


class TestVerdict:
    def test_blessed(self, summarize):
        assert verdict(summarize()) == (
            "Blessed: worst-group accuracy 90.0 % (odd / clean), +86.0 points from the ERM model's 4.0 % (odd / clean)."
        )

    def test_refused_for_each_threshold(self, summarize):
        swapped = summarize()
        summary = summarize(
            candidate=GroupCounts(np.array([[99, 10], [2, 100]]), np.array([[100, 100], [50, 100]])),
            baseline=GroupCounts(np.array([[95, 92], [45, 97]]), np.array([[100, 100], [50, 100]])),
            evaluator=EvaluatorSettings(
                baseline="last_blessed",
                min_worst_group_accuracy=0.5,
                max_subgroup_gap=0.1,
                max_worst_group_drop=0.02,
            ),
            blessed=False,
        )
        assert swapped["worst_group_accuracy"] == summary["baseline"]["worst_group_accuracy"]
        assert verdict(summary) == (
            "Not blessed: worst-group accuracy 4.0 % (odd / clean), −86.0 points from the last blessed model's 90.0 % "
            "(odd / clean); at least 50.0 % was asked for; the largest subgroup gap is 96.0 %, at most 10.0 % was "
            "asked for; at most 2.0 % below the last blessed model's was asked for."
        )

    def test_reasons_are_only_those_missed(self, summarize):
        summary = summarize(
            evaluator=EvaluatorSettings(baseline="erm", min_worst_group_accuracy=0.95, max_subgroup_gap=0.5),
            blessed=False,
        )
        assert verdict(summary).endswith("(odd / clean); at least 95.0 % was asked for.")

    def test_no_gate(self, summarize):
        assert verdict(summarize(blessed=None)).startswith("Not gated: worst-group accuracy 90.0 %")


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [1, 2], "e": {}}
