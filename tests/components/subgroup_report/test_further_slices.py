"""Slices by features that records have kept, read back from TFMA's files and counted by numpy."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma

from model_patching.components.evaluator.eval_config import PROBABILITIES, SIGNATURE, eval_config
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.evaluated_slices import read_slices
from model_patching.data import schema
from model_patching.data.convert import convert
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.records_source import RecordFeatures, RecordsSource

DATASET = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(2, 2, 1))
SIZE = 120
CAMERAS = ("Leica", "7", "Ä", None)  # None: the record has no such feature
TILTS = (-3, -1, 5, 12)  # as texts they would be in another order
SLICES = (("camera",), ("tilt",), ("label", "tilt"), ("camera", "tilt"))


class _Reader(tf.Module):
    """A classifier that finds its answer written in the first pixel."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        def answer(image):
            return tf.cast(tf.io.decode_png(image)[0, 0, 0], tf.int32)

        images = schema.parse(examples, DATASET, patched=False)["image"]
        return {PROBABILITIES: tf.one_hot(tf.map_fn(answer, images, fn_output_signature=tf.int32), 2)}


@pytest.fixture(scope="module")
def columns():
    """What each example has: name → an array or list of SIZE values."""
    random = np.random.default_rng(8)
    label = random.integers(0, 2, SIZE)
    return {
        "label": label,
        "subgroup": random.integers(0, 2, SIZE),
        "prediction": np.where(random.random(SIZE) < 0.7, label, 1 - label),
        "camera": np.array([CAMERAS[number] for number in random.integers(0, 4, SIZE)], object),
        "tilt": random.choice(TILTS, SIZE),
    }


@pytest.fixture(scope="module")
def evaluation(columns, write_tfrec, tmp_path_factory):
    """Folder of what TFMA made of the test split of records that were converted as `data.features` asks."""
    folder = tmp_path_factory.mktemp("further")
    examples = []
    for index in range(SIZE):
        pixels = np.full((2, 2, 1), columns["prediction"][index], np.uint8)
        example = {
            "img": tf.io.encode_png(pixels).numpy(),
            "y": int(columns["label"][index]),
            "z": int(columns["subgroup"][index]),
            "tilt": int(columns["tilt"][index]),
            "lens": 50,
        }
        if columns["camera"][index] is not None:
            example["camera"] = columns["camera"][index].encode()
        examples.append(example)
    for split in SPLITS:
        write_tfrec(folder / "theirs" / split / "a.tfrec", examples if split == "test" else examples[:20])
    features = RecordFeatures(image="img", label="y", subgroup="z", keep=("camera", "tilt"))
    convert(RecordsSource(folder / "theirs", features, DATASET), folder / "records", seed=1)

    reader = _Reader()
    tf.saved_model.save(reader, str(folder / "model"), signatures={SIGNATURE: reader.serve})
    settings = EvaluatorSettings(baseline="none", slices=SLICES)
    config = tfma.utils.update_eval_config_with_defaults(eval_config(settings, DATASET, "hash"))
    tfma.run_model_analysis(
        eval_shared_model=tfma.default_eval_shared_model(str(folder / "model"), eval_config=config),
        eval_config=config,
        data_location=str(folder / "records" / "test" / "*"),
        output_path=str(folder / "evaluation"),
    )
    return str(folder / "evaluation")


def expected(columns, names):
    """{values of the features: (count, correct)}, of the examples that have all of the features."""
    found = {}
    for index in range(SIZE):
        key = tuple(columns[name][index] for name in names)
        if None not in key:
            count, correct = found.get(key, (0, 0))
            is_correct = columns["prediction"][index] == columns["label"][index]
            found[key] = count + 1, correct + int(is_correct)
    return found


def test_tfmas_own_files_have_every_value_and_no_slice_of_what_is_missing(evaluation, columns):
    found = {}
    for of_slice in tfma.load_metrics(evaluation):
        keys = of_slice.slice_key.single_slice_keys
        values = {
            item.key.name: item.value.double_value.value
            for item in of_slice.metric_keys_and_values
            if not item.key.HasField("sub_key")
        }
        features = tuple((key.column, getattr(key, key.WhichOneof("kind"))) for key in keys)
        found[features] = values["example_count"], values["sparse_categorical_accuracy"]
    wanted = {}
    for names in ((), ("label",), ("subgroup",), ("label", "subgroup"), *SLICES):
        for key, (count, correct) in expected(columns, names).items():
            values = (value.encode() if isinstance(value, str) else value for value in key)
            wanted[tuple(zip(names, values, strict=True))] = count, pytest.approx(correct / count, abs=1e-7)
    assert len(wanted) == 1 + 2 + 2 + 4 + 3 + 4 + 8 + 12
    assert found == wanted
    assert found[(("tilt", -3),)][0] == (columns["tilt"] == -3).sum() > 10


def test_they_are_in_the_summary_by_name_in_order_with_numpys_figures(evaluation, columns):
    (slices, _), baseline = read_slices(evaluation, DATASET)
    assert baseline is None
    # After all, two classes, two subgroups and four groups; numbers by size, texts by their letters.
    assert [found["name"] for found in slices[9:16]] == [
        *("camera: 7", "camera: Leica", "camera: Ä"),
        *("tilt: -3", "tilt: -1", "tilt: 5", "tilt: 12"),
    ]
    by_spec = {names: [] for names in SLICES}
    for found in slices[9:]:
        own = {} if found["label"] is None else {"label": found["label"]}
        features = {**own, **found["features"]}
        names = tuple(sorted(features))
        by_spec[names].append(tuple(features[name] for name in names))
        count, correct = expected(columns, names)[by_spec[names][-1]]
        assert (found["count"], found["subgroup"]) == (count, None)
        assert found["accuracy"] == pytest.approx(correct / count, abs=1e-12)
        assert type(found["features"].get("tilt", 0)) is int
    for names, found in by_spec.items():
        assert found == sorted(expected(columns, names))
    assert [found["name"] for found in slices[16:20]] == [f"even / tilt: {tilt}" for tilt in TILTS]
    (one,) = (found for found in slices if found["name"] == "camera: 7 / tilt: -3")
    here = (columns["camera"] == "7") & (columns["tilt"] == -3)
    pairs = list(zip(columns["label"][here], columns["prediction"][here], strict=True))
    assert one["confusion_matrix"] == [[pairs.count((y, guess)) for guess in (0, 1)] for y in (0, 1)]
