"""`report.html`: what it says, that it is self-contained, and that names can't break it."""

import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.report import flatten, render
from model_patching.components.subgroup_report.sheets import read_sheets
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
def translators(tmp_path, translator_training):
    """A function that gives trainings and sheets of translator models, one for each label."""

    def make(labels, dataset):
        buffer = io.BytesIO()
        Image.new("L", (16, 10)).save(buffer, "PNG")
        trainings, sheets = [], []
        for label in labels:
            training = translator_training(label, dataset)
            folder = tmp_path / f"model-{label}" / "sheets"
            folder.mkdir(parents=True)
            for selected in training["selected"]:
                for step in (250, 500, 750):
                    source, target = selected["pair"]
                    (folder / f"{source}-{target}-step{step:06d}.png").write_bytes(buffer.getvalue())
            trainings.append(training)
            sheets += read_sheets(str(folder.parent), training, dataset, 2)
        return trainings, sheets

    return make


@pytest.fixture
def html(summarize, training, translators, dataset):
    trainings, sheets = translators([None], dataset)
    thresholds = TranslationThresholds(min_flip_rate=0.5, max_cycle_error=0.1)
    summary = summarize(translator_trainings=trainings, translation_thresholds=thresholds)
    return render(summary, training(), training("erm"), trainings, sheets)


def test_group_rows_are_the_summarys(html):
    rows = _Page(html).rows
    assert ["even / zigzag", "100", "92.0 %", "85.0–95.9 %", "10.0 %", "5.5–17.4 %", "+82.0"] in rows
    assert ["odd / clean (worst)", "50", "90.0 %", "78.6–95.7 %", "4.0 %", "1.1–13.5 %", "+86.0"] in rows
    assert ["even", "3.0 %", "89.0 %", "−86.0"] in rows  # the gap of a class


def test_settings_timings_and_versions(html):
    rows = _Page(html).rows
    assert ["optimizer.learning_rate", "0.02"] in rows
    assert ["CycleGANTrainer", "3 min 1 s"] in rows
    assert ["Evaluator", "from the cache"] in rows
    assert ["keras", "3.15.1"] in rows
    assert ["max_subgroup_gap", "not set"] in rows
    assert ["probe.steps", "400"] in rows and ["take", "not set"] in rows  # of the translators


def test_a_new_last_layer_is_told_of(summarize, training):
    of_dfr = training("dfr") | {
        "dfr": [
            {"strength": 1.0, "worst_group_accuracy": 0.8},
            {"strength": 0.3, "worst_group_accuracy": 0.85},
            {"strength": 0.1, "worst_group_accuracy": 0.7},
        ]
    }
    html = " ".join(render(summarize(), of_dfr, None, [], []).split())
    assert (
        "(dfr): epoch 2 of 3 was kept, chosen on the validation split. Then its last layer was fitted anew"
        in html
    )
    assert "by the worst group on half of those examples: 85.0 %." in html
    assert "fitted anew" not in render(summarize(), training("erm"), None, [], [])


def test_translation_rows_are_the_summarys(html):
    rows = _Page(html).rows
    found = [row for row in rows if row and "→" in row[0]]
    probe = {"clean": "99.8 %", "zigzag": "99.7 %"}  # on real images of the target subgroup
    assert found == [
        ["clean → zigzag", "even", "98.0 %", "97.5 %", "97.0 %", "3.1 %", "0.020", "0.011",
         "1,000", "900", probe["zigzag"], "97.0 %"],
        ["clean → zigzag", "odd", "88.0 %", "87.5 %", "87.0 %", "3.1 %", "0.020", "0.011",
         "1,001", "901", probe["zigzag"], "96.0 %"],
        ["zigzag → clean", "even", "97.0 %", "96.5 %", "96.0 %", "3.0 %", "0.021", "0.010",
         "1,000", "900", probe["clean"], "97.0 %"],
        ["zigzag → clean", "odd (worst)", "87.0 %", "86.5 %", "86.0 %", "3.0 %", "0.021", "0.010",
         "1,001", "901", probe["clean"], "96.0 %"],
    ]  # fmt: skip
    assert ["asked for", "", "≥ 50.0 %", "", "", "", "≤ 0.100", "", "", "", "", ""] in rows
    assert "No thresholds are set" not in html
    assert "kept was the latest step whose lowest score was the highest" in " ".join(html.split())
    assert "Worst flip rate 87.0 % (odd, zigzag → clean), class kept 86.5 % (odd, zigzag → clean), " in html
    assert re.search(r"clean ↔ zigzag:\s+step 500 of 750 was kept; the training stopped early\.", html)


def test_sheets_of_every_model_and_pair(summarize, training, translators, three_subgroups):
    trainings, sheets = translators([0, 1], three_subgroups)
    counts = GroupCounts(np.full([2, 3], 9), np.full([2, 3], 10))
    classifier = training() | {"group_counts": {"train": [[5, 5, 5], [5, 5, 5]]}}
    summary = summarize(
        dataset=three_subgroups,
        training=classifier,
        translator_trainings=trainings,
        candidate=counts,
        baseline=None,
    )
    html = render(summary, classifier, None, trainings, sheets)
    captions = re.findall(r"<figcaption>(.*? ↔ .*?)</figcaption>", html)
    assert captions == [
        f"{model}, {pair}, {step}"
        for model in ("even", "odd")
        for pair in ("clean ↔ zigzag", "clean ↔ dotted line", "zigzag ↔ dotted line")
        for step in ("step 250", "step 500 (kept)")
    ]
    assert "Above the grey line zigzag, rendered in dotted line, and translated back" in html
    assert "No thresholds are set" in html
    assert len([row for row in _Page(html).rows if row and "→" in row[0]]) == 12
    assert re.search(r"odd, clean ↔ dotted line:\s+step 500 of 750 was kept", html)
    chart = re.findall(r"<svg.*?</svg>", html, re.DOTALL)[2]
    for text in ("even", "odd", "clean ↔ zigzag", "zigzag ↔ dotted line"):
        assert chart.count(f">{text}</text>") == 1


def test_translations_that_could_not_be_measured(summarize, training, translators, dataset, unmeasured):
    trainings, _ = translators([None], dataset)
    for diagnosis in trainings[0]["diagnoses"]:
        for row in diagnosis["directions"]:
            row.update(unmeasured)
    html = render(summarize(translator_trainings=trainings), training(), None, trainings)
    rows = [row for row in _Page(html).rows if row and "→" in row[0]]
    assert rows[0] == ["clean → zigzag", "even", *"––––––", "0", "0", "99.7 %", "97.0 %"]
    assert "Worst flip rate –, class kept –, distance left –." in html


def test_loads_nothing(html):
    for tag, attributes in _Page(html).tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(
                ("#", "data:image/png;base64,", "data:image/jpeg;base64,")
            )
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]{0,2})", html)) <= {"#p"}  # clip paths of the charts


def test_images_have_texts(html):
    tags = _Page(html).tags
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    pictures = [attributes for tag, attributes in tags if tag == "figure" and attributes.get("role") == "img"]
    assert len(pictures) == 3 and all(attributes["aria-label"] for attributes in pictures)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags


def test_hostile_names_stay_text(summarize, training, translators):
    dataset = Dataset(
        classes=("<script>alert(1)</script>", "a & b"), subgroups=("$x$", '"'), image_shape=(8, 8, 1)
    )
    hostile = training("<img src=x onerror=alert(1)>")
    trainings, sheets = translators([0, 1], dataset)
    summary = summarize(dataset=dataset, dataset_name="<b>", training=hostile, translator_trainings=trainings)
    html = render(summary, hostile, None, trainings, sheets)
    tags = [tag for tag, _ in _Page(html).tags]
    assert "script" not in tags and "b" in tags and tags.count("img") == 4
    assert html.count("<b>") == 3  # the three figures in cards
    assert any(row[0] == "<script>alert(1)</script> / $x$" for row in _Page(html).rows if row)
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)
    assert "<svg" in html and "a &amp; b / $x$</text>" in html


def test_charts_follow_the_page(html):
    charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(charts) == 3
    for chart in charts:
        assert "currentColor" in chart and "#010203" not in chart
    ids = [set(re.findall(r'id="(\w+)"', chart)) for chart in charts]
    assert all(ids) and len(set.union(*ids)) == sum(map(len, ids))


def test_same_inputs_same_page(summarize, training, translators, dataset):
    trainings, sheets = translators([None], dataset)
    summary = summarize(translator_trainings=trainings)
    first, second = (render(summary, training(), None, trainings, sheets) for _ in range(2))
    assert first == second


def test_without_baseline_and_translators(summarize, training):
    summary = summarize(baseline=None, evaluator=EvaluatorSettings(baseline="none"))
    html = render(summary, training())
    rows = _Page(html).rows
    assert ["even / zigzag", "100", "92.0 %", "85.0–95.9 %"] in rows
    assert "<h2>Translations</h2>" not in html and "Translation settings" not in html
    assert "baseline" not in re.sub(r"max_worst_group_drop|dominant-baseline", "", html).lower()


def test_empty_group(summarize, training):
    counts = GroupCounts(np.array([[95, 0], [45, 97]]), np.array([[100, 0], [50, 100]]))
    rows = _Page(render(summarize(candidate=counts, baseline=counts), training())).rows
    assert ["even / zigzag", "0", "–", "–", "–", "–", "–"] in rows


def test_the_verdict_is_a_sentence(summarize, training):
    html = render(summarize(), training())
    assert ">Blessed: worst group 90.0 % (odd / clean), +86.0 points from" in html
    assert "average 96.0 %.</p>" in html


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [1, 2], "e": {}}
