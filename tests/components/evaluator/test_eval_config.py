"""The Evaluator's configuration, run by TFMA on a Keras model as it is served, against scikit-learn."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn.metrics import accuracy_score, log_loss

from model_patching.components.evaluator.eval_config import PROBABILITIES, SIGNATURE, eval_config
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.data import schema
from model_patching.data.dataset import Dataset

DATASET = Dataset(classes=("a", "b", "c"), subgroups=("x", "y"), image_shape=(4, 4, 1))
EMPTY = (2, 0)  # the group that has no examples
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
            writer.write(schema.serialize(schema.Record(png, int(label), int(subgroup), f"test-{index}")))
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
    settings = EvaluatorSettings(baseline="erm", max_worst_group_drop=1.0)
    return _evaluate(settings, examples, models, tmp_path_factory.mktemp("both"))


def _group_accuracies(examples, probabilities):
    """{(label, subgroup): accuracy} of the groups that have examples."""
    _, _, labels, subgroups = examples
    groups = sorted(set(zip(labels.tolist(), subgroups.tolist(), strict=True)))
    right = probabilities.argmax(1) == labels
    return {(y, z): right[(labels == y) & (subgroups == z)].mean() for y, z in groups}


def _normalized(probabilities):
    """In float64, where scikit-learn wants rows to sum to 1 more exactly than float32 can."""
    probabilities = probabilities.astype(np.float64)
    return probabilities / probabilities.sum(1, keepdims=True)


def _largest_gap(accuracies):
    by_class = [[value for (y, _), value in accuracies.items() if y == label] for label in range(3)]
    return max((max(values) - min(values) for values in by_class if len(values) > 1), default=np.nan)


@pytest.mark.parametrize("name", [CANDIDATE, BASELINE])
def test_every_slice_is_scikit_learns(analysis, examples, models, name):
    _, _, labels, subgroups = examples
    probabilities = models[name][1]
    accuracies = _group_accuracies(examples, probabilities)
    slices = dict(tfma.load_eval_result(analysis, model_name=name).slicing_metrics)
    assert len(slices) == 1 + 3 + 2 + 5

    for slice_key, outputs in slices.items():
        found = {metric: float(value["doubleValue"]) for metric, value in outputs[""][""].items()}
        wanted = dict(slice_key)
        y, z = wanted.get("label"), wanted.get("subgroup")
        here = (labels == (labels if y is None else y)) & (subgroups == (subgroups if z is None else z))
        in_slice = {
            key: value for key, value in accuracies.items() if y in (None, key[0]) and z in (None, key[1])
        }

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


def test_the_gate_looks_at_the_overall_slice_alone(analysis):
    result = tfma.load_validation_result(analysis)
    assert result.validation_ok
    assert [details.num_matching_slices for details in result.validation_details.slicing_details] == [1]


def test_the_gate_at_its_edges(examples, models, tmp_path):
    """What is reached exactly passes; a little more is refused. Both models have the same settings each way."""
    worst = {name: min(_group_accuracies(examples, p).values()) for name, (_, p) in models.items()}
    gap = _largest_gap(_group_accuracies(examples, models[CANDIDATE][1]))
    change = worst[CANDIDATE] - worst[BASELINE]
    swapped = {CANDIDATE: models[BASELINE], BASELINE: models[CANDIDATE]} if change > 0 else models
    drop = abs(change)
    assert drop > 0.02  # else the two models say nothing about a drop

    def failures(name, pair, **settings):
        output = _evaluate(EvaluatorSettings(**settings), examples, pair, tmp_path / name)
        result = tfma.load_validation_result(output)
        found = {
            (failure.metric_key.name, failure.metric_key.is_diff)
            for slice_ in result.metric_validations_per_slice
            for failure in slice_.failures
        }
        assert result.validation_ok == (not found)
        return found

    alone = {CANDIDATE: models[CANDIDATE]}
    exact = {"min_worst_group_accuracy": float(worst[CANDIDATE]), "max_subgroup_gap": float(gap)}
    beyond = {
        "min_worst_group_accuracy": float(worst[CANDIDATE]) + 0.01,
        "max_subgroup_gap": float(gap) - 0.01,
    }
    assert failures("exact", alone, baseline="none", **exact) == set()
    assert failures("beyond", alone, baseline="none", **beyond) == {
        ("worst_group_accuracy", False),
        ("subgroup_gap", False),
    }
    assert failures("drop", swapped, baseline="erm", max_worst_group_drop=drop) == set()
    assert failures("too_far", swapped, baseline="erm", max_worst_group_drop=drop - 0.01) == {
        ("worst_group_accuracy", True)
    }


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
