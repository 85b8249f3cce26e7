import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from model_patching.components.cyclegan_trainer import train as train_module
from model_patching.components.cyclegan_trainer.settings import (
    CycleGANTrainerSettings,
    ImageAugmentation,
    ProbeSettings,
)
from model_patching.components.cyclegan_trainer.train import train

SHAPE = (8, 8, 1)
SETTINGS = {
    "generator_filters": (4, 8),
    "discriminator_filters": (4, 8),
    "steps": 5,
    "batch_size": 2,
    "replay_buffer_size": 4,
    "log_every": 2,
    "sheet_every": 3,
    "diagnose_every": 2,
    "checkpoint_every": 2,
    "probe": ProbeSettings(filters=(4,), steps=20, batch_size=4),
}
LOSSES = {"generator", "adversarial", "cycle", "identity", "discriminator"}
FIGURES = {"flip_rate", "class_kept", "passed", "distance_left", "score", "cycle_error", "identity_error"}


@pytest.fixture
def run(tmp_path, monkeypatch, make_dataset, write_records, toy_records, notes):
    """Trains on toy images; returns where the results are, and the generators that were to be exported.

    A quick run builds no graph and exports nothing.
    """
    runs = []

    def do(
        counts=((2, 9), (3, 1)),
        shape=SHAPE,
        seed=1,
        quick=False,
        label=None,
        folder=None,
        translate_batch_size=128,
        **changes,
    ):
        folder = folder or tmp_path / f"run-{len(runs)}"
        runs.append(folder)
        exported = {}

        def spy(output_dir, translators, description):
            exported.update(translators)
            if not quick:
                export(output_dir, translators, description)

        tf.config.run_functions_eagerly(quick)
        with monkeypatch.context() as patch:
            patch.setattr(train_module, "export_translators", spy)
            train(
                train_paths=[write_records(tmp_path / "train.gz", toy_records(counts, shape))],
                validation_paths=[
                    write_records(tmp_path / "validation.gz", toy_records(counts, shape, seed=1))
                ],
                dataset=make_dataset(len(counts), len(counts[0]), shape),
                settings=CycleGANTrainerSettings(**(SETTINGS | changes)),
                label=label,
                seed=seed,
                translate_batch_size=translate_batch_size,
                checkpoints_dir=str(folder / "checkpoints"),
                model_dir=str(folder / "model"),
                model_run_dir=str(folder / "model_run"),
                tracker=notes,
            )
        return SimpleNamespace(model=folder / "model", model_run=folder / "model_run", generators=exported)

    export = train_module.export_translators
    yield do
    tf.config.run_functions_eagerly(False)


def assert_served_as_trained(result, shape):
    images = np.random.default_rng(0).uniform(-1, 1, (5, *shape)).astype(np.float32)
    folders = sorted(path.name for path in (result.model / "translators").iterdir())
    assert folders == sorted(f"{source}_to_{target}" for source, target in result.generators)
    outputs = []
    for (source, target), generator in result.generators.items():
        served = tf.saved_model.load(str(result.model / "translators" / f"{source}_to_{target}"))
        outputs.append(served.serve(images).numpy())
        assert outputs[-1].shape == images.shape
        assert outputs[-1] == pytest.approx(generator(images).numpy(), abs=1e-6)
    for i, one in enumerate(outputs):
        for other in outputs[i + 1 :]:
            assert not np.allclose(one, other, atol=1e-4)


def test_two_subgroups(run, notes):
    result = run()
    assert_served_as_trained(result, SHAPE)

    description = json.loads((result.model / "translators.json").read_text())
    assert description["pairs"] == [[0, 1], [1, 0]]
    assert description["label"] is None and description["seed"] == 1
    assert description["image_shape"] == list(SHAPE)
    assert "tensorflow" in description["versions"]

    record = json.loads((result.model_run / "training.json").read_text())
    assert record["method"] == "cyclegan"
    assert record["settings"]["steps"] == 5 and record["settings"]["generator_filters"] == [4, 8]
    assert [(point["pair"], point["step"]) for point in record["history"]] == [
        ([0, 1], 2),
        ([0, 1], 4),
        ([0, 1], 5),
    ]
    for point in record["history"]:
        assert set(point) == {"pair", "step", "seconds"} | LOSSES
        assert all(np.isfinite(point[name]) and point[name] > 0 for name in LOSSES)
        # The total of the published formula, from its terms.
        total = point["adversarial"] + 10.0 * point["cycle"] + 1.0 * point["identity"]
        assert point["generator"] == pytest.approx(total, rel=1e-4)

    # Every third step, the last, and the one that was kept.
    (selected,) = record["selected"]
    sheets = sorted((result.model_run / "sheets").iterdir())
    assert [path.name for path in sheets] == [
        f"0-1-step00000{step}.png" for step in sorted({3, 5, selected["step"]})
    ]
    # Subgroup 0 has 2 + 3 images; subgroup 1 has 9 + 1, of which 8 + 1 fit. Six rows and a line of 4.
    assert {Image.open(path).size for path in sheets} == {(9 * 8, 6 * 8 + 4)}

    assert [(entry["pair"], entry["step"]) for entry in record["diagnoses"]] == [
        ([0, 1], 2),
        ([0, 1], 4),
        ([0, 1], 5),
    ]
    for entry in record["diagnoses"]:
        assert [
            (row["class"], row["source"], row["target"], row["count"]) for row in entry["directions"]
        ] == [
            ("c0", "s0", "s1", 2),
            ("c1", "s0", "s1", 3),
            ("c0", "s1", "s0", 9),
            ("c1", "s1", "s0", 1),
        ]
    assert selected["pair"] == [0, 1] and selected["steps_done"] == 5 and selected["stopped_early"] is False
    best = max(entry["score"] for entry in record["diagnoses"])
    good = [entry["step"] for entry in record["diagnoses"] if entry["score"] >= best - 0.01]
    assert selected["step"] == good[-1]
    assert description["translate_batch_size"] == 128 and description["normalizes_over_batch"] is False
    assert [group["name"] for group in record["probes"]] == ["c0 / s0", "c0 / s1", "c1 / s0", "c1 / s1"]
    (kept,) = [entry for entry in record["diagnoses"] if entry["step"] == selected["step"]]
    assert description["diagnostics"] == kept["directions"]
    assert description["classes"] == ["c0", "c1"] and description["subgroups"] == ["s0", "s1"]

    told = [
        (step, names)
        for step in (2, 4, 5)
        for names in ({f"s0-s1/{name}" for name in LOSSES}, {f"s0-s1/{name}" for name in FIGURES})
    ]
    assert [(step, set(values)) for step, values in notes.points if values] == told
    assert notes.closing == {"s0-s1/selected_step": selected["step"]}
    assert [(step, name, image.shape) for step, name, image in notes.images] == [
        *((step, "s0-s1/sheet", (52, 72, 1)) for step in (3, 5)),
        (5, "s0-s1/selected sheet", (52, 72, 1)),
    ]
    last = result.model_run / "sheets" / "0-1-step000005.png"
    assert np.array_equal(np.asarray(Image.open(last)), notes.images[1][2][..., 0])


def test_three_subgroups_in_color(run, notes):
    shape = (9, 7, 3)
    result = run(counts=((1, 2, 1), (2, 1, 1)), shape=shape, steps=2, sheet_every=2)
    assert list(result.generators) == [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]
    assert_served_as_trained(result, shape)
    description = json.loads((result.model / "translators.json").read_text())
    assert description["pairs"] == [[0, 1], [1, 0], [0, 2], [2, 0], [1, 2], [2, 1]]
    record = json.loads((result.model_run / "training.json").read_text())
    assert [point["pair"] for point in record["history"]] == [[0, 1], [0, 2], [1, 2]]
    sheets = sorted((result.model_run / "sheets").iterdir())
    assert [path.name for path in sheets] == [f"{pair}-step000002.png" for pair in ("0-1", "0-2", "1-2")]
    assert [Image.open(path).size for path in sheets] == [(3 * 7, 6 * 9 + 4)] * 3
    assert Image.open(sheets[0]).mode == "RGB"
    # A tracker's run can't go back to an earlier step: the pairs follow each other.
    assert [step for step, values in notes.points if "cycle" in str(values)] == [2, 2, 4, 4, 6, 6]


def test_the_seed_decides_the_weights(run):
    first, again = (run(seed=7, steps=3).generators for _ in range(2))
    other, its_first = (run(seed=seed, steps=1, quick=True).generators for seed in (8, 7))
    for pair, generator in first.items():
        for one, two in zip(generator.get_weights(), again[pair].get_weights(), strict=True):
            assert np.array_equal(one, two)
        # One step moves a weight by 2e-4; those of two seeds are some 2e-2 apart.
        kernels = [generators[pair].get_weights()[0] for generators in (its_first, first, other)]
        assert kernels[1] == pytest.approx(kernels[0], abs=1e-3)
        assert abs(kernels[2] - kernels[0]).max() > 1e-2


def test_one_class_alone(run):
    result = run(counts=((2, 3), (4, 5)), label=1, steps=2)
    description = json.loads((result.model / "translators.json").read_text())
    assert description["label"] == 1
    assert {row["class"] for row in description["diagnostics"]} == {"c1"}
    assert [row["count"] for row in description["diagnostics"]] == [4, 5]
    # Two rows of four and five digits: the sheet has no others.
    (sheet,) = (result.model_run / "sheets").iterdir()
    assert Image.open(sheet).size == (5 * 8, 6 * 8 + 4)


def test_a_class_alone_learns_from_other_images_than_all_together(run):
    both, one = (run(counts=((2, 3), (4, 5)), label=label, steps=2, quick=True) for label in (None, 1))
    kernels = [result.generators[0, 1].get_weights()[0] for result in (both, one)]
    assert not np.array_equal(*kernels)


class Stopped(Exception):
    """Stands for the end of a process."""


class Stopping:
    """Wraps a tracker and stops the training when it is told a step."""

    def __init__(self, notes, step):
        self.notes = notes
        self.step = step

    def __getattr__(self, name):
        return getattr(self.notes, name)

    def log(self, step, values):
        self.notes.log(step, values)
        if step == self.step:
            raise Stopped


EVERYTHING_RANDOM = {
    "norm": "batchnorm",
    "dropout": 0.5,
    "gradient_penalty": "dragan",
    "augmentation": ImageAugmentation(rotation=10.0, pad_and_crop=1, flip_left_right=0.5, crop=0.1),
    "discriminator_augmentation": ImageAugmentation(rotation=10.0, flip_left_right=0.5),
    "steps": 9,
    "log_every": 1,
    "diagnose_every": 3,
    "checkpoint_every": 2,
}


@pytest.mark.parametrize("stopped_at", [1, 5, 9])
def test_a_stopped_training_ends_as_one_that_never_was(run, notes, tmp_path, stopped_at, monkeypatch):
    whole = run(**EVERYTHING_RANDOM)
    told, drawn = list(notes.points), list(notes.images)
    notes.points.clear()
    notes.images.clear()

    folder = tmp_path / "stopped"
    real = train_module.train_pair

    def stopping(*arguments):
        *before, tracker, steps_before = arguments
        return real(*before, Stopping(tracker, stopped_at), steps_before)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "train_pair", stopping)
        with pytest.raises(Stopped):
            run(folder=folder, **EVERYTHING_RANDOM)
    assert not (folder / "model").exists() and not (folder / "model_run").exists()
    notes.points.clear()
    notes.images.clear()
    resumed = run(folder=folder, **EVERYTHING_RANDOM)

    for pair, generator in whole.generators.items():
        for one, two in zip(generator.get_weights(), resumed.generators[pair].get_weights(), strict=True):
            assert np.array_equal(one, two)
    one, two = (json.loads((result.model_run / "training.json").read_text()) for result in (whole, resumed))
    for record in (one, two):
        for point in record["history"]:
            point.pop("seconds")
    assert one == two
    assert {path.name for path in (whole.model_run / "sheets").iterdir()} == {
        path.name for path in (resumed.model_run / "sheets").iterdir()
    }
    # The tracker's second run has the whole curves, though the first was cut off.
    assert as_curves(notes.points) == as_curves(told)
    assert [(step, name) for step, name, _ in notes.images] == [(step, name) for step, name, _ in drawn]
    for (*_, found), (*_, expected) in zip(notes.images, drawn, strict=True):
        assert np.array_equal(found, expected)


def as_curves(points):
    curves = {}
    for step, values in points:
        for name, value in values.items():
            curves.setdefault(name, {})[step] = value
    return curves


def test_stops_when_diagnoses_no_longer_improve_and_keeps_the_latest_of_the_good(run, monkeypatch):
    scores = iter([0.1, 0.5, 0.52, 0.51, 0.49, 0.505, 0.9])
    weights = []

    def fixed(directions):
        return next(scores)

    real = train_module._diagnose

    def spy(cyclegan, *rest):
        weights.append(cyclegan.forward.get_weights())
        return real(cyclegan, *rest)

    monkeypatch.setattr(train_module, "score", fixed)
    monkeypatch.setattr(train_module, "_diagnose", spy)
    result = run(steps=50, diagnose_every=2, diagnose_tolerance=0.02, patience=3, sheet_every=20, quick=True)
    record = json.loads((result.model_run / "training.json").read_text())
    # Scored at 2, 4, 6 (the best), 8 (near enough), 10 (not) and 12 (near enough, and the third that isn't better).
    assert record["selected"] == [{"pair": [0, 1], "step": 12, "steps_done": 12, "stopped_early": True}]
    for one, two in zip(result.generators[0, 1].get_weights(), weights[5], strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(weights[2][0], weights[5][0])


def test_takes_no_more_images_of_a_group_than_asked_for(run, monkeypatch):
    taken = []
    real = train_module.load_arrays

    def spy(*arguments, **options):
        arrays = real(*arguments, **options)
        taken.append(arrays.group_count.tolist())
        return arrays

    monkeypatch.setattr(train_module, "load_arrays", spy)
    probe = ProbeSettings(filters=(4,), steps=2, batch_size=4, take=5)
    run(take=2, diagnose_images=3, probe=probe, steps=1, quick=True)
    assert taken == [[2, 2, 2, 1], [2, 3, 3, 1], [2, 5, 3, 1]]


@pytest.mark.parametrize("norm, on_the_sheet", [("instancenorm", [9, 1]), ("batchnorm", [3, 1])])
def test_diagnoses_and_draws_in_batches_of_the_augmenter(run, monkeypatch, norm, on_the_sheet):
    sizes, drawn = [], []
    real, real_sheet = train_module.diagnose, train_module.draw_sheet

    def spy(*arguments):
        sizes.append(arguments[5])
        return real(*arguments)

    def sheet_spy(forward, backward, source, target):
        drawn.append([len(images) for images in target])
        return real_sheet(forward, backward, source, target)

    monkeypatch.setattr(train_module, "diagnose", spy)
    monkeypatch.setattr(train_module, "draw_sheet", sheet_spy)
    result = run(steps=1, quick=True, translate_batch_size=3, norm=norm)
    assert sizes == [3] and drawn == [on_the_sheet] * 2
    assert json.loads((result.model_run / "training.json").read_text())["settings"]["norm"] == norm


def test_epochs_are_passes_over_the_larger_subgroup(run):
    # Of class 0: 2 and 9 images, in batches of 2; of both: 5 and 10.
    for label, steps in ((0, 2 * 5), (None, 2 * 5), (1, 2 * 2)):
        result = run(steps=4000, epochs=2, label=label, quick=True)
        record = json.loads((result.model_run / "training.json").read_text())
        assert record["selected"][0]["steps_done"] == record["settings"]["steps"] == steps


def test_a_loss_that_is_not_finite(run):
    message = "^the .* loss is .* at step 2: try lower learning rates$"
    with pytest.raises(ValueError, match=message) as error:
        run(generator_learning_rate=1e30, discriminator_learning_rate=1e30, quick=True)
    assert "\n" not in str(error.value)


def test_an_empty_group_is_named(run):
    with pytest.raises(ValueError, match="^group 'c0 / s1' has no example in the training split"):
        run(counts=((2, 0), (1, 1)))
