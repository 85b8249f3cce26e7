"""TFMA's confidence intervals of every metric, of random predictions, whose metrics are scikit-learn's."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from tensorflow_model_analysis.constants import MATERIALIZED_PREDICTION

from model_patching.components.evaluator.calibration import calibration_error
from model_patching.components.evaluator.eval_config import PROBABILITIES, eval_config
from model_patching.components.evaluator.group_metrics import group_metrics
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.evaluated_slices import read_slices
from model_patching.components.subgroup_report.evaluation import read_evaluation
from model_patching.data.dataset import Dataset

DATASET = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(4, 4, 1))
SIZE = 160


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """(path of a TFRecord, labels, subgroups, probabilities float32 [n, 2]); three examples are of odd / zigzag."""
    random = np.random.default_rng(11)
    label, subgroup = random.integers(0, 2, SIZE), random.integers(0, 2, SIZE)
    subgroup[(label == 1) & (np.cumsum(label * subgroup) > 3)] = 0
    probabilities = random.dirichlet(np.ones(2), SIZE).astype(np.float32)
    path = tmp_path_factory.mktemp("predictions") / "data"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(SIZE):
            example = tf.train.Example()
            features = example.features.feature
            features["label"].int64_list.value.append(label[index])
            features["subgroup"].int64_list.value.append(subgroup[index])
            features["example_id"].bytes_list.value.append(b"%d" % index)
            features[PROBABILITIES].float_list.value.extend(probabilities[index])
            writer.write(example.SerializeToString())
    return path, label, subgroup, probabilities


def check(value, interval, may_lack):
    """A bootstrap sample may have none of the three examples, and then there is no interval of what needs them."""
    if interval is None:
        assert may_lack
    else:
        assert interval[0] <= value <= interval[1]


@pytest.mark.parametrize("method", ["jackknife", "poisson_bootstrap"])
def test_metrics_are_scikit_learns_and_have_intervals(predictions, method, tmp_path):
    path, label, subgroup, probabilities = predictions
    settings = EvaluatorSettings(
        baseline="none", confidence_intervals=method, min_slice_accuracy={"odd": 0.0, "even / clean": 1.0}
    )
    config = eval_config(settings, DATASET, "hash")
    config.model_specs[0].model_type = MATERIALIZED_PREDICTION
    config = tfma.utils.update_eval_config_with_defaults(config)
    tfma.run_model_analysis(
        eval_shared_model=tfma.EvalSharedModel(model_type=MATERIALIZED_PREDICTION),
        eval_config=config,
        data_location=str(path),
        output_path=str(tmp_path),
    )

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
