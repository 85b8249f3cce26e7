"""The Evaluator's configuration, run by TFMA on a Keras model as it is served, against scikit-learn."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.calibration import calibration_error
from model_patching.components.evaluator.eval_config import PROBABILITIES, SIGNATURE, eval_config
from model_patching.components.evaluator.settings import EvaluatorSettings, slice_group
from model_patching.components.subgroup_report.evaluated_slices import read_slices
from model_patching.components.subgroup_report.evaluation import read_evaluation
from model_patching.components.subgroup_report.nodes import Nodes
from model_patching.components.subgroup_report.score import Scores
from model_patching.components.subgroup_report.summary import build_summary
from model_patching.data import schema
from model_patching.data.dataset import Dataset

DATASET = Dataset(classes=("a", "b", "c"), subgroups=("x", "y"), image_shape=(4, 4, 1))
EMPTY = (2, 0)  # the group that has no examples
CAMERAS = ("Leica", "7", "Ä")  # every tenth record names none
METRIC_OF = {
    "min_worst_group_accuracy": "worst_group_accuracy",
    "min_slice_accuracy": "sparse_categorical_accuracy",
    "max_subgroup_gap": "subgroup_gap",
    "max_worst_group_drop": "worst_group_accuracy",
    "max_accuracy_drop": "sparse_categorical_accuracy",
    "max_gap_rise": "subgroup_gap",
}
CHANGES = ("max_worst_group_drop", "max_accuracy_drop", "max_gap_rise")
CANDIDATE, BASELINE = tfma.CANDIDATE_KEY, tfma.BASELINE_KEY


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """(path of a gzip TFRecord, images uint8 [n, 4, 4, 1], labels [n], subgroups [n])."""
    random = np.random.default_rng(3)
    labels, subgroups = random.integers(0, 3, 240), random.integers(0, 2, 240)
    kept = ~((labels == EMPTY[0]) & (subgroups == EMPTY[1]))
    labels, subgroups = labels[kept], subgroups[kept]
    images = random.integers(0, 256, [len(labels), 4, 4, 1]).astype(np.uint8)
    path = tmp_path_factory.mktemp("examples") / "data.tfrecord.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for index, (image, label, subgroup) in enumerate(zip(images, labels, subgroups, strict=True)):
            png = tf.io.encode_png(image).numpy()
            further = {"camera": schema.feature(CAMERAS[index % 3])} if index % 10 else {}
            record = schema.Record(png, int(label), int(subgroup), f"test-{index}", further=further)
            writer.write(schema.serialize(record))
    return path, images, labels, subgroups


@pytest.fixture(scope="module")
def models(examples, tmp_path_factory):
    """Model name → (path of its SavedModel, its probabilities on the examples [n, 3])."""
    result = {}
    for seed, name in enumerate((CANDIDATE, BASELINE)):
        keras.utils.set_random_seed(seed)
        layers = [keras.Input(DATASET.image_shape), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
        model = keras.Sequential(layers)
        path = str(tmp_path_factory.mktemp("models") / name)
        _export(model, path)
        images = schema.to_float(tf.constant(examples[1]))
        result[name] = path, model(images).numpy()
    return result


def _export(model, path):
    def serve(serialized):
        encoded = schema.parse(serialized, DATASET, patched=False)["image"]
        images = tf.map_fn(
            lambda image: schema.decode_image(image, DATASET), encoded, fn_output_signature=tf.uint8
        )
        return {PROBABILITIES: model(schema.to_float(images))}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(SIGNATURE, serve, [tf.TensorSpec([None], tf.string, name="examples")])
    archive.write_out(path, verbose=False)


def _evaluate(settings, examples, models, output):
    """Runs TFMA the way the TFX Evaluator does."""
    config = tfma.utils.update_eval_config_with_defaults(
        eval_config(settings, DATASET, "hash"), has_baseline=len(models) > 1, rubber_stamp=True
    )
    tfma.utils.verify_eval_config(config)
    shared = [
        tfma.default_eval_shared_model(path, model_name=name if len(models) > 1 else "", eval_config=config)
        for name, (path, _) in models.items()
    ]
    tfma.run_model_analysis(
        eval_shared_model=shared, eval_config=config, data_location=str(examples[0]), output_path=str(output)
    )
    return str(output)


@pytest.fixture(scope="module")
def analysis(examples, models, tmp_path_factory):
    settings = EvaluatorSettings(
        baseline="erm", max_worst_group_drop=1.0, slices=(("camera",), ("camera", "subgroup"))
    )
    return _evaluate(settings, examples, models, tmp_path_factory.mktemp("both"))


def _group_accuracies(labels, subgroups, probabilities):
    """{(label, subgroup): accuracy} of the groups that have examples."""
    groups = sorted(set(zip(labels.tolist(), subgroups.tolist(), strict=True)))
    right = probabilities.argmax(1) == labels
    return {(y, z): right[(labels == y) & (subgroups == z)].mean() for y, z in groups}


def _values(metrics):
    return {name: float(value["doubleValue"]) for name, value in metrics.items() if "doubleValue" in value}


def _normalized(probabilities):
    """In float64, where scikit-learn wants rows to sum to 1 more exactly than float32 can."""
    probabilities = probabilities.astype(np.float64)
    return probabilities / probabilities.sum(1, keepdims=True)


def _slice_accuracies(examples, probabilities):
    """Accuracy of all examples, of a class, a subgroup and a group, by their names."""
    _, _, labels, subgroups = examples
    right = probabilities.argmax(1) == labels
    slices = {
        "all": labels >= 0,
        "b": labels == 1,
        "y": subgroups == 1,
        "a / x": (labels == 0) & (subgroups == 0),
    }
    return {name: float(right[here].mean()) for name, here in slices.items()}


def _gap(examples, model):
    return float(_largest_gap(_group_accuracies(*examples[2:], model[1])))


def _largest_gap(accuracies):
    by_class = [[value for (y, _), value in accuracies.items() if y == label] for label in range(3)]
    return max((max(values) - min(values) for values in by_class if len(values) > 1), default=np.nan)


@pytest.mark.parametrize("name", [CANDIDATE, BASELINE])
def test_every_slice_is_scikit_learns(analysis, examples, models, name):
    _, _, labels, subgroups = examples
    probabilities = models[name][1]
    slices = dict(tfma.load_eval_result(analysis, model_name=name).slicing_metrics)
    assert len(slices) == 1 + 3 + 2 + 5 + 3 + 6
    cameras = np.array([CAMERAS[index % 3] if index % 10 else "" for index in range(len(labels))])
    plots = dict(tfma.load_eval_result(analysis, model_name=name).plots)

    for slice_key, outputs in slices.items():
        found = _values(outputs[""][""])
        wanted = dict(slice_key)
        y, z = wanted.get("label"), wanted.get("subgroup")
        here = (labels == (labels if y is None else y)) & (subgroups == (subgroups if z is None else z))
        if "camera" in wanted:
            here &= cameras == str(wanted["camera"])
        in_slice = _group_accuracies(labels[here], subgroups[here], probabilities[here])

        assert found["example_count"] == here.sum()
        assert found["sparse_categorical_accuracy"] == pytest.approx(
            accuracy_score(labels[here], probabilities[here].argmax(1)), abs=1e-6
        )
        assert found["sparse_categorical_crossentropy"] == pytest.approx(
            log_loss(labels[here], _normalized(probabilities[here]), labels=[0, 1, 2]), abs=1e-6
        )
        assert found["worst_group_accuracy"] == pytest.approx(min(in_slice.values()), abs=1e-12)
        assert found["subgroup_gap"] == pytest.approx(_largest_gap(in_slice), abs=1e-12, nan_ok=True)
        assert not any(metric.startswith("_") for metric in found)

        guesses = probabilities[here].argmax(1)
        assert found["calibration_error"] == pytest.approx(
            calibration_error(probabilities[here].max(1).astype(np.float64), guesses == labels[here]),
            abs=1e-6,  # the served model's float32 aren't quite those of this process
        )
        matrix = confusion_matrix(labels[here], guesses, labels=[0, 1, 2])
        entries = plots[slice_key][""][""]["multiClassConfusionMatrixAtThresholds"]["matrices"][0]["entries"]
        assert {
            (entry.get("actualClassId", 0), entry.get("predictedClassId", 0)): entry["numWeightedExamples"]
            for entry in entries
        } == {place: count for place, count in np.ndenumerate(matrix) if count}
        options = {"labels": [0, 1, 2], "average": None, "zero_division": np.nan}
        precision = precision_score(labels[here], guesses, **options)
        recall = recall_score(labels[here], guesses, **options)
        for label in range(3):
            of_class = _values(outputs[""][f"classId:{label}"])
            assert of_class["precision"] == pytest.approx(precision[label], abs=1e-9, nan_ok=True)
            assert of_class["recall"] == pytest.approx(recall[label], abs=1e-9, nan_ok=True)
            gap = _largest_gap({key: value for key, value in in_slice.items() if key[0] == label})
            assert of_class["class_subgroup_gap"] == pytest.approx(gap, abs=1e-12, nan_ok=True)
            is_label = labels[here] == label
            if is_label.any() and not is_label.all():
                # TFMA puts the probabilities in 10,000 bins, and those of a bin are all alike.
                area = roc_auc_score(is_label, probabilities[here][:, label])
                assert of_class["auc"] == pytest.approx(area, abs=1e-3)


def test_the_gate_looks_at_the_overall_slice_alone(analysis):
    result = tfma.load_validation_result(analysis)
    assert result.validation_ok
    assert [details.num_matching_slices for details in result.validation_details.slicing_details] == [1]


def test_the_gate_at_its_edges(examples, models, tmp_path):
    """What is reached exactly passes; a little more is refused. Both models have the same settings each way."""
    worst = {name: min(_group_accuracies(*examples[2:], p).values()) for name, (_, p) in models.items()}
    gap = _largest_gap(_group_accuracies(*examples[2:], models[CANDIDATE][1]))
    change = worst[CANDIDATE] - worst[BASELINE]
    swapped = {CANDIDATE: models[BASELINE], BASELINE: models[CANDIDATE]} if change > 0 else models
    drop = abs(change)
    assert drop > 0.02  # else the two models say nothing about a drop

    def failures(name, pair, **settings):
        """TFMA's, (metric, whether it is compared with the baseline, slice); the report must come to the same."""
        settings = EvaluatorSettings(**settings)
        output = _evaluate(settings, examples, pair, tmp_path / name)
        result = tfma.load_validation_result(output)
        found = {
            (failure.metric_key.name, failure.metric_key.is_diff, _slice_of(slice_.slice_key))
            for slice_ in result.metric_validations_per_slice
            for failure in slice_.failures
        }
        if result.missing_slices:
            found.add("a slice is missing")
        assert result.validation_ok == (not found)
        assert found == {_failure(row) for row in _summary(output, settings)["missed_thresholds"]}
        return found

    alone = {CANDIDATE: models[CANDIDATE]}
    accuracy = _slice_accuracies(examples, models[CANDIDATE][1])
    exact = {
        "min_worst_group_accuracy": float(worst[CANDIDATE]),
        "max_subgroup_gap": float(gap),
        "min_slice_accuracy": accuracy,
    }
    beyond = {
        "min_worst_group_accuracy": float(worst[CANDIDATE]) + 0.01,
        "max_subgroup_gap": float(gap) - 0.01,
        "min_slice_accuracy": {
            **accuracy,
            "b": accuracy["b"] + 1e-3,
            "c / x": 0.0,
        },  # that group has no examples
    }
    assert failures("exact", alone, baseline="none", **exact) == set()
    assert failures("beyond", alone, baseline="none", **beyond) == {
        ("worst_group_accuracy", False, (None, None)),
        ("subgroup_gap", False, (None, None)),
        ("sparse_categorical_accuracy", False, (1, None)),
        "a slice is missing",
    }
    first, second = (_slice_accuracies(examples, swapped[name][1])["all"] for name in (CANDIDATE, BASELINE))
    fall = second - first
    rise = _gap(examples, swapped[CANDIDATE]) - _gap(examples, swapped[BASELINE])
    reached = {
        "max_worst_group_drop": drop,
        "max_accuracy_drop": max(fall, 0.0),
        "max_gap_rise": max(rise, 0.0),
    }
    assert failures("drop", swapped, baseline="erm", **reached) == set()
    too_strict = {key: value - 1e-3 for key, value in reached.items() if value > 1e-3}
    assert len(too_strict) > 1
    assert failures("too_far", swapped, baseline="erm", **{**reached, **too_strict}) == {
        (METRIC_OF[key], True, (None, None)) for key in too_strict
    }


def _slice_of(slice_key):
    """(label, subgroup) of TFMA's key, None where it isn't a feature of the slice."""
    values = {key.column: key.int64_value for key in slice_key.single_slice_keys}
    return values.get("label"), values.get("subgroup")


def _failure(row):
    """A missed threshold of a summary as TFMA would tell it."""
    if row["found"] is None:
        return "a slice is missing"
    group = slice_group(row["slice"] or "all", DATASET)
    return METRIC_OF[row["threshold"]], row["threshold"] in CHANGES, group


def _summary(output, settings):
    """What the report makes of TFMA's output."""
    candidate, baseline = read_evaluation(output, DATASET)
    candidate_slices, baseline_slices = read_slices(output, DATASET)
    counts = {"train": np.ones([3, 2]).tolist()}
    training = {"method": "erm", "seed": 1, "settings": {}, "group_counts": counts, "versions": {}}
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
        scores=Scores(candidate, np.zeros([3, 2], int), np.zeros([3, 2], int), {}),
        nodes=Nodes({}, []),
        versions={},
        candidate_slices=candidate_slices,
        baseline_slices=baseline_slices,
    )


def test_the_first_model_has_nothing_to_be_compared_with(examples, models, tmp_path):
    settings = EvaluatorSettings(baseline="last_blessed")
    output = _evaluate(settings, examples, {CANDIDATE: models[CANDIDATE]}, tmp_path)
    assert tfma.load_validation_result(output).validation_ok


def test_the_code_hash_is_part_of_the_cache_key():
    first, second = (
        eval_config(EvaluatorSettings(), DATASET, code_hash).SerializeToString(deterministic=True)
        for code_hash in ("1", "2")
    )
    assert first != second


def test_without_a_baseline_there_is_no_change_threshold():
    def has_change(baseline):
        config = eval_config(EvaluatorSettings(baseline=baseline), DATASET, "hash")
        return tfma.utils.has_change_threshold(config)

    assert has_change("erm") and has_change("last_blessed") and not has_change("none")


def test_a_label_outside_the_data_set_is_named(examples, models, tmp_path):
    two_classes = Dataset(classes=("a", "b"), subgroups=("x", "y"), image_shape=(4, 4, 1))
    config = eval_config(EvaluatorSettings(baseline="none"), two_classes, "hash")
    assert json.loads(config.metrics_specs[0].metrics[3].config)["num_classes"] == 2
    shared = tfma.default_eval_shared_model(models[CANDIDATE][0], eval_config=config)
    with pytest.raises(
        Exception, match="record 'test-[0-9]+' has label 2 and subgroup 1, but the data set has 2 classes"
    ):
        tfma.run_model_analysis(
            eval_shared_model=shared,
            eval_config=config,
            data_location=str(examples[0]),
            output_path=str(tmp_path),
        )
