import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.evaluator.group_metrics import GroupMetrics
from model_patching.components.robust_trainer import train as train_module
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.small_cnn import small_cnn
from model_patching.components.robust_trainer.train import train
from model_patching.data import schema
from model_patching.data.schema import Record

SHAPE = (16, 16, 1)
TRAIN = [[12, 6], [5, 14]]
VALIDATION = [[5, 4], [4, 6]]
SETTINGS = {
    "epochs": 2,
    "steps_per_epoch": 2,
    "batch_size": 2,
    "learning_rate": 0.02,
    "weight_decay": 0.0,
    "mixed_precision": "off",
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory, make_dataset, write_records, toy_records):
    """A data set whose label can be seen: its description, files, and validation records."""
    folder = tmp_path_factory.mktemp("toy")
    validation = toy_records(VALIDATION, SHAPE, seed=1)
    return SimpleNamespace(
        dataset=make_dataset(2, 2, SHAPE),
        train=write_records(folder / "train.gz", toy_records(TRAIN, SHAPE, patched=True)),
        plain=write_records(folder / "plain.gz", toy_records(TRAIN, SHAPE)),
        validation=write_records(folder / "validation.gz", validation),
        records=validation,
    )


@pytest.fixture
def run(toy, tmp_path, notes):
    """Trains; returns `training.json`, and the endpoints and weights of the exported model."""
    runs = []

    def do(train_path=None, validation_path=None, dataset=None, seed=1, checkpoints_dir=None, **changes):
        folder = tmp_path / f"run-{len(runs)}"
        runs.append(folder)
        train(
            [train_path or toy.train],
            [validation_path or toy.validation],
            dataset or toy.dataset,
            RobustTrainerSettings(**(SETTINGS | changes)),
            seed,
            checkpoints_dir or str(folder / "checkpoints"),
            str(folder / "model"),
            str(folder / "model_run"),
            notes,
        )
        model = tf.saved_model.load(str(folder / "model"))
        return SimpleNamespace(
            record=json.loads((folder / "model_run" / "training.json").read_text()),
            signatures=model.signatures,
            weights=[variable.numpy() for variable in model.trainable_variables],
        )

    return do


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def images_of(records):
    return tf.constant([record.image for record in records])


@pytest.mark.parametrize("method", ["erm", "balanced_erm", "group_dro", "irm", "camel"])
def test_learns_what_can_be_seen(run, toy, notes, method):
    result = run(method=method, epochs=3, steps_per_epoch=25, batch_size=6)
    record = result.record
    assert record["method"] == method and record["seed"] == 1
    assert record["settings"]["method"] == method and record["settings"]["batch_size"] == 6
    assert record["dtype_policy"] == "float32" and "tensorflow" in record["versions"]
    assert record["group_counts"] == {"train": TRAIN, "validation": VALIDATION}
    assert [epoch["epoch"] for epoch in record["history"]] == [1, 2, 3]
    assert record["history"][2]["loss"] < record["history"][0]["loss"]

    selected = record["history"][record["selected_epoch"] - 1]["validation"]
    assert selected["worst_group_accuracy"] > 0.9

    # What is served is what was scored, by both endpoints.
    served = result.signatures["serving_image"](images_of(toy.records))["probabilities"].numpy()
    label = np.array([record.label for record in toy.records])
    group = 2 * label + [record.subgroup for record in toy.records]
    right = (served.argmax(axis=1) == label).astype(float)
    accuracy = np.bincount(group, right) / np.bincount(group)
    assert accuracy == pytest.approx(np.array(selected["group_accuracy"]).reshape(-1))
    assert accuracy.min() == pytest.approx(selected["worst_group_accuracy"])
    assert selected["average_accuracy"] == pytest.approx((accuracy * np.reshape(TRAIN, -1)).sum() / 37)
    serialized = tf.constant([schema.serialize(record) for record in toy.records])
    assert result.signatures["serving_default"](serialized)["probabilities"].numpy() == pytest.approx(served)

    # The tracker hears of steps 0, 20, 40 and 60, and of the three epochs.
    terms = {"train/loss", "train/main_loss", "train/weight_decay"}
    terms |= {"camel": {"train/consistency"}, "irm": {"train/irm"}}.get(method, set())
    assert [step for step, values in notes.points if set(values) == terms] == [0, 20, 40, 60]
    epochs = {step: values for step, values in notes.points if "epoch_loss" in values}
    assert list(epochs) == [25, 50, 75]
    assert epochs[75]["validation/c1 / s0"] == record["history"][2]["validation"]["group_accuracy"][1][0]
    weights = [value for name, value in epochs[75].items() if name.startswith("group_weight/")]
    assert sum(weights) == pytest.approx(1 if method in ("group_dro", "camel") else 0)
    assert notes.closing == {
        "selected_epoch": record["selected_epoch"],
        "validation/worst_group_accuracy": selected["worst_group_accuracy"],
    }


@pytest.mark.parametrize(
    "selection, epoch",
    # (worst, average): by the worst group 2, 3 and 4 tie; of them 3 and 4 by the average; the earlier one stays.
    [("worst_group", 3), ("average", 5), ("last", 5)],
)
def test_exports_the_best_epoch(run, toy, monkeypatch, selection, epoch):
    script = [(0.5, 0.9), (0.7, 0.6), (0.7, 0.8), (0.7, 0.8), (0.6, 0.99)]
    seen = []

    class Scripted(train_module.Scorer):
        def __init__(self, model, *rest):
            self.model = model

        def score(self):
            worst, average = script[len(seen)]
            seen.append(self.model.get_weights())
            accuracy = np.array([[worst, 1.0], [1.0, 1.0]])
            return GroupMetrics(accuracy, worst, (0, 0), np.zeros(2), 0.0, average)

    monkeypatch.setattr(train_module, "Scorer", Scripted)
    result = run(method="erm", epochs=5, selection=selection)
    assert result.record["selected_epoch"] == epoch
    scores = [epoch["validation"] for epoch in result.record["history"]]
    assert [(score["worst_group_accuracy"], score["average_accuracy"]) for score in scores] == script

    served = result.signatures["serving_image"](images_of(toy.records))["probabilities"].numpy()
    pixels = np.stack([tf.io.decode_image(record.image).numpy() for record in toy.records])
    matches = []
    for weights in seen:
        model = small_cnn(SHAPE, 2, 0)
        model.set_weights(weights)
        expected = tf.nn.softmax(model(pixels / np.float32(127.5) - 1)).numpy()
        matches.append(np.allclose(expected, served, atol=1e-6))
    assert matches == [number == epoch for number in range(1, 6)]


def test_the_seed_decides_the_weights(run):
    first, again, other = (run(method="camel", seed=seed) for seed in (5, 5, 6))
    assert len(first.weights) == 12
    for one, two in zip(first.weights, again.weights, strict=True):
        assert np.array_equal(one, two)
    assert [epoch["loss"] for epoch in first.record["history"]] == [
        epoch["loss"] for epoch in again.record["history"]
    ]
    assert any(not np.array_equal(one, two) for one, two in zip(first.weights, other.weights, strict=True))


def test_mixed_precision_serves_float32(run, toy):
    result = run(method="camel", mixed_precision="on", epochs=1)
    assert result.record["dtype_policy"] == "mixed_bfloat16"
    assert {weights.dtype for weights in result.weights} == {np.dtype(np.float32)}
    served = result.signatures["serving_image"](images_of(toy.records))["probabilities"].numpy()
    assert served.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_more_classes_and_subgroups_than_two(run, make_dataset, write_records, toy_records, tmp_path):
    counts = [[2, 1, 1, 1], [1, 1, 1, 2], [1, 3, 1, 1]]
    result = run(
        write_records(tmp_path / "train.gz", toy_records(counts, SHAPE, patched=True)),
        write_records(tmp_path / "validation.gz", toy_records(counts, SHAPE, seed=1)),
        make_dataset(3, 4, SHAPE),
        method="camel",
        epochs=1,
        augmentation_training="both",
    )
    assert result.record["group_counts"]["train"] == counts
    assert np.shape(result.record["history"][0]["validation"]["group_accuracy"]) == (3, 4)


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "camel", "augmentation_training": "both"},
        {"method": "irm", "optimizer": "adamw", "decoupled_weight_decay": 0.01, "clip_norm": 1.0},
    ],
)
@pytest.mark.parametrize("killed_in", [1, 3])
def test_goes_on_to_the_same_weights(run, monkeypatch, tmp_path, changes, killed_in):
    whole = run(epochs=4, **changes)
    scores = train_module.Scorer.score
    calls = []

    def score(self):
        calls.append(self)
        if len(calls) == killed_in:
            raise Killed
        return scores(self)

    checkpoints_dir = str(tmp_path / "kept")
    with monkeypatch.context() as patch:
        patch.setattr(train_module.Scorer, "score", score)
        with pytest.raises(Killed):
            run(epochs=4, checkpoints_dir=checkpoints_dir, **changes)
    resumed = run(epochs=4, checkpoints_dir=checkpoints_dir, **changes)
    for one, two in zip(whole.weights, resumed.weights, strict=True):
        assert np.array_equal(one, two)

    def without_times(record):
        return [
            {key: value for key, value in epoch.items() if key != "seconds"} for epoch in record["history"]
        ]

    assert without_times(whole.record) == without_times(resumed.record)
    assert whole.record["selected_epoch"] == resumed.record["selected_epoch"]


def test_patience(run, monkeypatch):
    script = iter([0.5, 0.7, 0.6, 0.7, 0.6, 0.9])

    class Scripted(train_module.Scorer):
        def score(self):
            worst = next(script)
            return GroupMetrics(np.full((2, 2), worst), worst, (0, 0), np.zeros(2), 0.0, worst)

    monkeypatch.setattr(train_module, "Scorer", Scripted)
    record = run(method="erm", epochs=6, patience=3).record
    assert record["stopped_early"] and record["selected_epoch"] == 2 and len(record["history"]) == 5


def test_dfr_renews_the_last_layer(run, toy):
    result = run(method="dfr", epochs=3, steps_per_epoch=25, batch_size=6, dfr_strengths=(1.0, 0.1))
    erm = run(method="erm", epochs=3, steps_per_epoch=25, batch_size=6)
    assert [entry["strength"] for entry in result.record["dfr"]] == [1.0, 0.1]
    *body, kernel, bias = [
        np.array_equal(one, two) for one, two in zip(result.weights, erm.weights, strict=True)
    ]
    assert all(body) and not kernel and not bias
    served = result.signatures["serving_image"](images_of(toy.records))["probabilities"].numpy()
    assert np.mean(served.argmax(axis=1) == [record.label for record in toy.records]) > 0.9


def test_dfr_without_two_examples_of_a_group_does_not_train(run, toy_records, write_records, tmp_path, notes):
    one_alone = write_records(tmp_path / "one.gz", toy_records([[4, 4], [4, 1]], SHAPE))
    with pytest.raises(
        ValueError, match="^group 'c1 / s1' has 1 example in the validation split: dfr "
    ) as error:
        run(method="dfr", validation_path=one_alone)
    assert one_line(error) and not notes.points


def test_a_loss_that_is_not_finite(run):
    with pytest.raises(
        ValueError, match="^the loss is .* in epoch 1: try a lower learning_rate or a clip_norm$"
    ) as error:
        run(method="erm", learning_rate=1e30, steps_per_epoch=4)
    one_line(error)


def test_camel_without_patched_images(run, toy):
    with pytest.raises(ValueError) as error:
        run(toy.plain, method="camel")
    assert one_line(error).startswith(f"{toy.plain}: record 0: ") and "patched_images" in one_line(error)
    run(toy.plain, method="group_dro", epochs=1)  # has no use for them


@pytest.mark.parametrize("method", ["erm", "camel"])
def test_an_empty_group_is_named(run, toy, write_records, toy_records, tmp_path, method):
    lacking = write_records(tmp_path / "lacking.gz", toy_records([[2, 2], [0, 2]], SHAPE, patched=True))
    with pytest.raises(ValueError, match="^group 'c1 / s0' has no example in the training split$"):
        run(lacking, method=method)
    with pytest.raises(ValueError, match="^group 'c1 / s0' has no example in the validation split$"):
        run(validation_path=lacking, method=method)


@pytest.mark.parametrize(
    "bad, says",
    [
        (
            Record(tf.io.encode_png(np.zeros((16, 15, 1), np.uint8)).numpy(), 0, 0, "bad"),
            r"record 4: .*\[16,15,1\]",
        ),
        (
            Record(tf.io.encode_png(np.zeros(SHAPE, np.uint8)).numpy(), 2, 0, "bad"),
            "record 4, 'bad': label 2, but the data set has 2 classes",
        ),
        (b"no record", "record 4: Could not parse"),
    ],
)
def test_a_bad_record_is_named(run, write_records, toy_records, tmp_path, bad, says):
    path = write_records(tmp_path / "bad.gz", [*toy_records([[1, 1], [1, 1]], SHAPE), bad])
    for files in ({"train_path": path}, {"validation_path": path}):
        with pytest.raises(ValueError) as error:
            run(**files, method="erm")
        assert re.match(f"{re.escape(path)}: {says}", one_line(error))


def test_a_truncated_file_is_named(run, toy, tmp_path):
    with open(toy.plain, "rb") as file:
        data = file.read()
    path = tmp_path / "cut.gz"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError) as error:
        run(str(path), method="erm")
    assert one_line(error).startswith(f"{path}: record ")
