"""`report.html`: what it says, that it is self-contained, and that names can't break it."""

import base64
import io
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.mistakes import read_pictures
from model_patching.components.subgroup_report.report import flatten, render
from model_patching.components.subgroup_report.summary import EvaluatedSlices
from model_patching.data.dataset import Dataset


@pytest.fixture
def html(full_report):
    return full_report.html


def test_group_rows_are_the_summarys(html, read_page):
    rows = read_page(html).rows
    assert ["even / zigzag", "100", "92.0 %", "85.0–95.9 %", "10.0 %", "5.5–17.4 %", "+82.0"] in rows
    assert ["odd / clean (worst)", "50", "90.0 %", "78.6–95.7 %", "4.0 %", "1.1–13.5 %", "+86.0"] in rows
    assert ["even", "3.0 %", "89.0 %", "−86.0"] in rows  # the gap of a class


def test_settings_timings_and_versions(html, read_page):
    rows = read_page(html).rows
    assert ["optimizer.learning_rate", "0.02"] in rows
    assert ["RobustTrainer", "3 min 1 s"] in rows
    assert ["Evaluator", "from the cache"] in rows
    assert ["keras", "3.15.1"] in rows
    assert ["max_subgroup_gap", "not set"] in rows
    assert ["probe.steps", "400"] in rows and ["take", "not set"] in rows  # of the translators


def test_the_surest_mistakes_and_their_renditions(html):
    section = html[html.index("<h2>Worst mistakes</h2>") : html.index("<h2>Consistency</h2>")]
    assert re.findall("<h3>(.*)</h3>", section) == ["even / zigzag", "odd / clean"]
    assert re.findall('<p class="quiet">(digit.*)</p>', section) == ["digit-7", "digit-3", "digit-4"]
    said = re.findall(r'<span class="quiet">(.*?)</span> <span>(.*?)</span>', section)
    assert said == [
        ("the image", "✗ odd<br>99.8 %"),
        ("as clean", "✓ even<br>75.0 %"),
        ("as zigzag", "✗ odd<br>96.0 %"),
        ("the image", "✗ odd<br>60.0 %"),
        ("as clean", "✗ odd<br>70.0 %"),
        ("as zigzag", "✓ even<br>80.0 %"),
        ("the image", "✗ even<br>55.0 %"),
    ]
    greys = []
    for content in re.findall('<img src="data:image/png;base64,([^"]+)" class="enlarged"', section):
        greys.append(Image.open(io.BytesIO(base64.b64decode(content))).getpixel((0, 0)))
    assert greys == [0, 40, 80, 0, 40, 80, 0]
    assert 'alt="digit-7, as zigzag, taken for odd"' in section


def test_consistency_rows(html, read_page):
    rows = read_page(html).rows
    low, high = (100 * end for end in proportion_confint(20, 100, alpha=0.05, method="wilson"))
    assert ["even / zigzag", "100", "20", "20.0 %", f"{low:.1f}–{high:.1f} %"] in rows
    assert ["odd / clean", "0", "0", "–", "–"] in rows


def test_no_renditions_no_mistakes(summarize, training, scores):
    nothing = replace(scores, rendered=np.zeros([2, 2], int), changed=np.zeros([2, 2], int), mistakes={})
    html = render(summarize(scores=nothing), training())
    assert "Of the test images that were predicted for this report none was wrong." in html
    assert "report.mistakes is 0" not in html
    html = render(summarize(scores=nothing), training(), shows_mistakes=False)
    assert "None are shown, as report.mistakes is 0." in html
    assert "Not measured: the test images have no renditions." in html
    right = GroupCounts(np.full([2, 2], 9), np.full([2, 2], 9))
    html = render(summarize(scores=nothing, candidate=right), training())
    assert "This model got every test image right." in html


def test_the_data_and_where_it_comes_from(html, read_page, summarize, training):
    rows = read_page(html).rows
    assert ["group", "train", "validation", "test"] in rows
    assert ["odd / clean", "100", "100", "50"] in rows
    assert ["all", "20,000", "20,000", "350"] in rows
    assert ["digits.csv", "cd" * 32] in rows
    text = " ".join(html.split())
    assert "digits of one parity: images of 28 × 28 pixels, grey; classes even, odd;" in text
    assert "train: group &#39;even / zigzag&#39; has 100 records, published are 200" in text
    assert "Bad records of the source that were left out: 1." in text
    assert "Source: MNIST, by LeCun &amp; others<br>Licence: the manifest names none." in text
    assert "<title>Subgroup report · digits of one parity · camel</title>" in html
    assert "The records have no manifest, so nothing is known" in render(summarize(), training())


def test_lineage(html, read_page):
    rows = read_page(html).rows
    assert ["ExampleGen", "", "Examples 1 ExampleGen/examples/1"] in rows
    assert ["Evaluator cached", "Examples 1 Model 4", "ModelEvaluation 9 Evaluator/evaluation/9"] in rows
    for number in (1, 4):
        assert f'href="#artifact-{number}"' in html and html.count(f'id="artifact-{number}"') == 1


def test_an_artifact_of_another_run(summarize, training, nodes, read_page):
    """A Resolver has the model that a node has made again, from the cache; another's model nobody has made here."""
    model = {"id": 4, "type": "Model", "path": "RobustTrainer/model/4"}
    old = {"id": 2, "type": "Model", "path": "RobustTrainer/model/2"}
    resolver = {"node": "LastBlessedModel", "cached": False, "inputs": [], "outputs": [model]}
    reader = {"node": "Evaluator", "cached": False, "inputs": [old], "outputs": []}
    html = render(summarize(nodes=nodes._replace(lineage=[*nodes.lineage, resolver, reader])), training())
    assert html.count('id="artifact-4"') == 1
    assert ["Evaluator", "Model 2 RobustTrainer/model/2", ""] in read_page(html).rows


def test_missed_thresholds_are_beside_what_was_asked_for(summarize, training, make_slice, read_page):
    summary = summarize(
        evaluator=EvaluatorSettings(
            baseline="erm",
            min_worst_group_accuracy=0.95,
            min_slice_accuracy={"odd": 0.5, "odd / clean": 0.25},
        ),
        candidate_slices=EvaluatedSlices([make_slice("odd", 0.4)]),
        blessed=False,
    )
    rows = read_page(render(summary, training())).rows
    assert ["min_worst_group_accuracy", "0.95", "missed by 5.0 points"] in rows
    assert [
        "min_slice_accuracy",
        "odd: 0.5, odd / clean: 0.25",
        "odd: missed by 10.0 points, odd / clean: missed",
    ] in rows


def test_intervals_are_below_the_figures(summarize, training, make_slice, read_page):
    intervals = {
        "accuracy": [0.31, 0.52],
        "cross_entropy": [0.4, 1.61],
        "calibration_error": [-0.01, 0.2],
        "auc": [[0.5, 0.75], None],
        "precision": [[0.1, 0.2], None],
        "recall": [None, None],
    }
    everything = make_slice(
        "all / camera: <b>Leica</b>",
        0.4,
        intervals=intervals,
        auc=[0.6, None],
        precision=[0.15, None],
        recall=[0.3, 0.4],
        confusion_matrix=[[10, 5], [20, 15]],
    )
    of_all = {
        "worst_group_accuracy": [0.2, 0.4],
        "subgroup_gap": {"largest": [0.01, 0.09], "per_class": {"even": [0.0, 0.0], "odd": [0.01, 0.09]}},
    }
    html = render(summarize(candidate_slices=EvaluatedSlices([everything], of_all)), training())
    rows = [[" ".join(cell.split()) for cell in row] for row in read_page(html).rows]
    name = "all / camera: <b>Leica</b>"
    assert [
        *(name, "50", "40.0 %", "20.0–90.0 %31.0–52.0 %", "0.5000.400–1.610", "10.0 %0.0–20.0 %"),
    ] in rows
    assert ["even", "15.0 %10.0–20.0 %", "30.0 %–", "0.6000.500–0.750", "10", "5"] in rows
    text = " ".join(html.split())
    assert "it is 20.0–40.0 %, of the largest subgroup gap 1.0–9.0 % (even: –, odd: 1.0–9.0 %)" in text


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


def test_translation_rows_are_the_summarys(html, read_page):
    rows = read_page(html).rows
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


def test_sheets_of_every_model_and_pair(summarize, training, translators, three_subgroups, read_page):
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
    assert len([row for row in read_page(html).rows if row and "→" in row[0]]) == 12
    assert re.search(r"odd, clean ↔ dotted line:\s+step 500 of 750 was kept", html)
    chart = re.findall(r"<svg.*?</svg>", html, re.DOTALL)[2]
    for text in ("even", "odd", "clean ↔ zigzag", "zigzag ↔ dotted line"):
        assert chart.count(f">{text}</text>") == 1


def test_translations_that_could_not_be_measured(
    summarize, training, translators, dataset, unmeasured, read_page
):
    trainings, _ = translators([None], dataset)
    for diagnosis in trainings[0]["diagnoses"]:
        for row in diagnosis["directions"]:
            row.update(unmeasured)
    html = render(summarize(translator_trainings=trainings), training(), None, trainings)
    rows = [row for row in read_page(html).rows if row and "→" in row[0]]
    assert rows[0] == ["clean → zigzag", "even", *"––––––", "0", "0", "99.7 %", "97.0 %"]
    assert "Worst flip rate –, class kept –, distance left –." in html


def test_loads_nothing(html, read_page):
    for tag, attributes in read_page(html).tags:
        assert tag not in ("script", "link", "iframe")
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(
                ("#", "data:image/png;base64,", "data:image/jpeg;base64,")
            )
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]{0,2})", html)) <= {"#p"}  # clip paths of the charts


def test_images_have_texts(html, read_page):
    tags = read_page(html).tags
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    pictures = [attributes for tag, attributes in tags if tag == "figure" and attributes.get("role") == "img"]
    assert len(pictures) == 3 and all(attributes["aria-label"] for attributes in pictures)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in tags


def test_hostile_names_stay_text(summarize, training, translators, scores, manifest, nodes, read_page):
    dataset = Dataset(
        classes=("<script>alert(1)</script>", "a & b"), subgroups=("$x$", '"'), image_shape=(8, 8, 1)
    )
    hostile = training("<img src=x onerror=alert(1)>")
    trainings, sheets = translators([0, 1], dataset)
    (mistake,) = scores.mistakes[1, 0]
    scores.mistakes[1, 0] = [replace(mistake, example_id='"><img src=x onerror=alert(1)>')]
    manifest |= {"name": "<b>", "citation": "<script>", "licence": "<script>", "warnings": ["<script>"]}
    manifest["inputs"]["source"]["files"] = {"<script>": "<script>"}
    artifact = {"id": 1, "type": "<script>", "path": "<script>"}
    node = {"node": "<script>", "cached": False, "inputs": [artifact], "outputs": [artifact]}
    summary = summarize(
        dataset=dataset,
        manifest=manifest,
        training=hostile,
        translator_trainings=trainings,
        scores=scores,
        nodes=nodes._replace(lineage=[node]),
    )
    html = render(summary, hostile, None, trainings, sheets, read_pictures(scores))
    tags = [tag for tag, _ in read_page(html).tags]
    assert "script" not in tags and "b" in tags and tags.count("img") == 4 + 7
    assert html.count("<b>") == 3  # the three figures in cards
    assert any(row[0] == "<script>alert(1)</script> / $x$" for row in read_page(html).rows if row)
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


def test_without_baseline_and_translators(summarize, training, read_page):
    summary = summarize(baseline=None, evaluator=EvaluatorSettings(baseline="none"))
    html = render(summary, training())
    rows = read_page(html).rows
    assert ["even / zigzag", "100", "92.0 %", "85.0–95.9 %"] in rows
    assert "<h2>Translations</h2>" not in html and "Translation settings" not in html
    assert "baseline" not in re.sub(r"max_worst_group_drop|dominant-baseline", "", html).lower()


def test_empty_group(summarize, training, read_page):
    counts = GroupCounts(np.array([[95, 0], [45, 97]]), np.array([[100, 0], [50, 100]]))
    rows = read_page(render(summarize(candidate=counts, baseline=counts), training())).rows
    assert ["even / zigzag", "0", "–", "–", "–", "–", "–"] in rows


def test_the_verdict_is_a_sentence(summarize, training):
    html = render(summarize(), training())
    assert ">Blessed: worst group 90.0 % (odd / clean), +86.0 points from" in html
    assert "average 96.0 %.</p>" in html


def test_flatten():
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [1, 2], "e": {}}
