"""TFMA's confidence intervals of every metric, of random predictions, whose metrics are scikit-learn's.

With a baseline, too, and thresholds of change.
"""

import re

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from tensorflow_model_analysis.constants import MATERIALIZED_PREDICTION
from typer.testing import CliRunner

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.calibration import calibration_error
from model_patching.components.evaluator.eval_config import eval_config
from model_patching.components.evaluator.group_metrics import group_metrics
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.evaluated_slices import read_slices
from model_patching.components.subgroup_report.evaluation import read_evaluation
from model_patching.components.subgroup_report.nodes import Nodes
from model_patching.components.subgroup_report.score import Scores
from model_patching.components.subgroup_report.summary import build_summary
from model_patching.data.dataset import Dataset
from model_patching.pipelines.cli import main

DATASET = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(4, 4, 1))
SIZE = 160
ROWS = ".google-visualization-table-table tr"
CANDIDATE, BASELINE = tfma.CANDIDATE_KEY, tfma.BASELINE_KEY


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """(path of a TFRecord, labels, subgroups, {model: probabilities float32 [n, 2]}).

    Three examples are of odd / zigzag. The baseline is the better model.
    """
    random = np.random.default_rng(11)
    label, subgroup = random.integers(0, 2, SIZE), random.integers(0, 2, SIZE)
    subgroup[(label == 1) & (np.cumsum(label * subgroup) > 3)] = 0
    candidate, baseline = random.dirichlet(np.ones(2), [2, SIZE])
    baseline = (baseline + 0.5 * np.eye(2)[label]) / 1.5
    probabilities = {CANDIDATE: candidate.astype(np.float32), BASELINE: baseline.astype(np.float32)}
    path = tmp_path_factory.mktemp("predictions") / "data"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(SIZE):
            example = tf.train.Example()
            features = example.features.feature
            features["label"].int64_list.value.append(label[index])
            features["subgroup"].int64_list.value.append(subgroup[index])
            features["example_id"].bytes_list.value.append(b"%d" % index)
            for name, values in probabilities.items():
                features[name].float_list.value.extend(values[index])
            writer.write(example.SerializeToString())
    return path, label, subgroup, probabilities


def evaluate(settings, path, names, output):
    """Runs TFMA on the predictions of one model, or of both."""
    config = eval_config(settings, DATASET, "hash")
    spec = config.model_specs.pop()
    spec.model_type = MATERIALIZED_PREDICTION
    for name in names:
        spec.prediction_key, spec.is_baseline = name, name == BASELINE
        spec.name = name if len(names) > 1 else ""
        config.model_specs.add().CopyFrom(spec)
    tfma.run_model_analysis(
        eval_shared_model=[
            tfma.EvalSharedModel(
                model_name=spec.name, model_type=MATERIALIZED_PREDICTION, is_baseline=spec.is_baseline
            )
            for spec in config.model_specs
        ],
        eval_config=tfma.utils.update_eval_config_with_defaults(config, has_baseline=len(names) > 1),
        data_location=str(path),
        output_path=str(output),
    )
    return str(output)


def check(value, interval, may_lack):
    """A bootstrap sample may have none of the three examples, and then there is no interval of what needs them."""
    if interval is None:
        assert may_lack
    else:
        assert interval[0] <= value <= interval[1]


@pytest.mark.parametrize("method", ["jackknife", "poisson_bootstrap"])
def test_metrics_are_scikit_learns_and_have_intervals(predictions, method, tmp_path):
    path, label, subgroup, models = predictions
    probabilities = models[CANDIDATE]
    settings = EvaluatorSettings(
        baseline="none", confidence_intervals=method, min_slice_accuracy={"odd": 0.0, "even / clean": 1.0}
    )
    evaluate(settings, path, [CANDIDATE], tmp_path)

    counts, baseline = read_evaluation(str(tmp_path), DATASET)
    (slices, intervals), no_slices = read_slices(str(tmp_path), DATASET)
    assert baseline is None and no_slices is None
    prediction = probabilities.argmax(1)
    right = prediction == label
    for (y, z), count in np.ndenumerate(counts.count):
        here = (label == y) & (subgroup == z)
        assert (count, counts.correct[y, z]) == (here.sum(), right[here].sum())

    names = [
        "all",
        "even",
        "odd",
        "clean",
        "zigzag",
        "even / clean",
        "even / zigzag",
        "odd / clean",
        "odd / zigzag",
    ]
    assert [found["name"] for found in slices] == names
    for found in slices:
        here = np.ones(SIZE, bool)
        here &= True if found["label"] is None else label == found["label"]
        here &= True if found["subgroup"] is None else subgroup == found["subgroup"]
        confidence = probabilities[here].max(1).astype(np.float64)
        assert found["accuracy"] == pytest.approx(right[here].mean(), abs=1e-9)
        assert found["calibration_error"] == pytest.approx(
            calibration_error(confidence, right[here]), abs=1e-9
        )
        if found["label"] is not None:
            assert found["auc"] is found["precision"] is found["confusion_matrix"] is None
            continue
        options = {"average": None, "zero_division": np.nan}
        assert found["precision"] == pytest.approx(
            precision_score(label[here], prediction[here], **options), abs=1e-9
        )
        assert found["recall"] == pytest.approx(
            recall_score(label[here], prediction[here], **options), abs=1e-9
        )
        # 200 thresholds with intervals; the probabilities between two of them are all alike.
        area = roc_auc_score(label[here], probabilities[here][:, 1])
        assert found["auc"] == pytest.approx([area, area], abs=0.01)
        for name in ("precision", "recall", "auc"):
            for value, interval in zip(found[name], found["intervals"][name], strict=True):
                check(value, interval, may_lack=found["name"] == "zigzag")

    # Samples are random: the interval of an accuracy p is 2 · 1.96 · √(p (1 − p) / 160) wide, give or take.
    everything = slices[0]
    low, high = everything["intervals"]["accuracy"]
    assert low < everything["accuracy"] < high
    assert high - low == pytest.approx(
        2 * 1.96 * np.sqrt(everything["accuracy"] * (1 - everything["accuracy"]) / SIZE), rel=0.6
    )
    metrics = group_metrics(counts.correct, counts.count)
    low, high = intervals["worst_group_accuracy"]
    assert low <= metrics.worst_group_accuracy <= high
    gaps = intervals["subgroup_gap"]["per_class"]
    for name, gap in zip(DATASET.classes, metrics.subgroup_gap, strict=True):
        check(gap, gaps[name], may_lack=name == "odd")

    validation = tfma.load_validation_result(str(tmp_path))
    assert [
        failure.metric_key.name
        for of_slice in validation.metric_validations_per_slice
        for failure in of_slice.failures
    ] == ["sparse_categorical_accuracy"]


def figures(label, subgroup, probabilities):
    """(worst-group accuracy, accuracy, largest gap of a class)."""
    right = probabilities.argmax(1) == label
    groups = np.array([[right[(label == y) & (subgroup == z)].mean() for z in (0, 1)] for y in (0, 1)])
    return groups.min(), right.mean(), np.ptp(groups, axis=1).max()


@pytest.fixture(scope="module")
def compared(predictions, tmp_path_factory):
    """(settings, folder of TFMA's output) of both models: two thresholds are just reached, one missed by an example."""
    path, label, subgroup, models = predictions
    (worst, accuracy, gap), of_baseline = (figures(label, subgroup, models[name]) for name in models)
    settings = EvaluatorSettings(
        baseline="erm",
        confidence_intervals="jackknife",
        max_worst_group_drop=of_baseline[0] - worst,
        max_accuracy_drop=of_baseline[1] - accuracy - 1 / SIZE,
        max_gap_rise=gap - of_baseline[2],
    )
    assert min(settings.max_worst_group_drop, settings.max_accuracy_drop, settings.max_gap_rise) > 0.2
    return settings, evaluate(settings, path, models, tmp_path_factory.mktemp("compared"))


def test_changes_are_held_against_figures_and_not_against_their_intervals(compared):
    settings, output = compared
    validation = tfma.load_validation_result(output)
    failures = [
        (failure.metric_key.name, failure.metric_key.is_diff)
        for of_slice in validation.metric_validations_per_slice
        for failure in of_slice.failures
    ]
    assert failures == [("sparse_categorical_accuracy", True)] and not validation.validation_ok

    (missed,) = summarize(settings, output)["missed_thresholds"]
    assert (missed["threshold"], missed["slice"]) == ("max_accuracy_drop", None)
    assert missed["missed_by"] == pytest.approx(1 / SIZE, abs=1e-9)


def test_the_baseline_has_figures_and_intervals_of_its_own(compared, predictions):
    _, label, subgroup, models = predictions
    summary = summarize(*compared)
    for block, name in ((summary, CANDIDATE), (summary["baseline"], BASELINE)):
        worst, accuracy, gap = figures(label, subgroup, models[name])
        assert block["worst_group_accuracy"] == pytest.approx(worst, abs=1e-9)
        assert block["subgroup_gap"]["largest"] == pytest.approx(gap, abs=1e-9)
        everything, *others = block["slices"]
        assert everything["accuracy"] == pytest.approx(accuracy, abs=1e-9)
        low, high = everything["intervals"]["accuracy"]
        assert low < accuracy < high
        for found in others:
            check(found["accuracy"], found["intervals"]["accuracy"], may_lack=found["name"] == "odd / zigzag")
        check(
            block["subgroup_gap"]["per_class"]["even"],
            block["intervals"]["subgroup_gap"]["per_class"]["even"],
            may_lack=False,
        )


def test_the_page_of_slices_has_the_intervals(compared, chromium, tmp_path):
    _, output = compared
    done = CliRunner().invoke(main, ["slices", output, "--output", str(tmp_path / "page.html"), "--no-open"])
    assert done.exit_code == 0, done.output
    chromium.open((tmp_path / "page.html").as_uri())
    chromium.wait_for(lambda: len(chromium.rows(ROWS)) > 1)
    rows = chromium.rows(ROWS)
    models = [
        {found["name"]: found for found in of_model.slices} for of_model in read_slices(output, DATASET)
    ]
    place = rows[0].index("sparse_categorical_accuracy")
    (overall,) = (row[place] for row in rows if row[0] == "Overall")
    assert numbers(overall) == pytest.approx(with_interval(models[0]["all"]), abs=6e-6)

    chromium.wait_for(lambda: "Select metrics" in chromium.text())
    chromium.click("paper-checkbox", "sparse_categorical_accuracy")

    def found():
        shown = [row for row in chromium.rows(".table-row") if row[0] == "label_X_subgroup:0_X_0"]
        return [row for row in shown if "(" in row[1]]

    (row,) = chromium.wait_for(found)
    for cell, of_model in zip(row[1:3], reversed(models), strict=True):  # the baseline comes first
        assert numbers(cell) == pytest.approx(with_interval(of_model["even / clean"]), abs=6e-4)


def numbers(cell):
    """Those of "0.781 (0.728, 0.834)"."""
    return [float(number) for number in re.findall(r"-?[\d.]+", cell)]


def with_interval(found):
    """Accuracy of a slice of the summary, and the ends of its interval."""
    return [found["accuracy"], *found["intervals"]["accuracy"]]


def summarize(settings, output):
    """The report's summary of TFMA's output."""
    candidate, baseline = read_evaluation(output, DATASET)
    candidate_slices, baseline_slices = read_slices(output, DATASET)
    training = {"method": "erm", "seed": 1, "settings": {}, "versions": {}}
    training["group_counts"] = {"train": np.ones([2, 2]).tolist()}
    return build_summary(
        pipeline="",
        run_id="",
        dataset_name="",
        dataset=DATASET,
        manifest=None,
        training=training,
        baseline_training=None,
        translator_trainings=[],
        translation_thresholds=TranslationThresholds(),
        candidate=candidate,
        baseline=baseline,
        evaluator=settings,
        blessed=None,
        scores=Scores(candidate, np.zeros([2, 2], int), np.zeros([2, 2], int), {}),
        nodes=Nodes({}, []),
        versions={},
        candidate_slices=candidate_slices,
        baseline_slices=baseline_slices,
    )
