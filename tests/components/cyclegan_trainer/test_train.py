import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from model_patching.components.cyclegan_trainer import train as train_module
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
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
}
LOSSES = {"generator", "adversarial", "cycle", "identity", "discriminator"}


@pytest.fixture
def run(tmp_path, monkeypatch, make_dataset, write_records, toy_records, notes):
    """Trains on toy images; returns where the results are, and the generators that were to be exported.

    A quick run builds no graph and exports nothing.
    """
    runs = []

    def do(counts=((2, 9), (3, 1)), shape=SHAPE, seed=1, quick=False, **changes):
        folder = tmp_path / f"run-{len(runs)}"
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
                [write_records(tmp_path / "train.gz", toy_records(counts, shape))],
                make_dataset(len(counts), len(counts[0]), shape),
                CycleGANTrainerSettings(**(SETTINGS | changes)),
                seed,
                str(folder / "model"),
                str(folder / "model_run"),
                notes,
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

    sheets = sorted((result.model_run / "sheets").iterdir())
    assert [path.name for path in sheets] == ["0-1-step000003.png", "0-1-step000005.png"]
    # Subgroup 0 has 2 + 3 images; subgroup 1 has 9 + 1, of which 8 + 1 fit. Six rows and a line of 4.
    assert {Image.open(path).size for path in sheets} == {(9 * 8, 6 * 8 + 4)}

    assert [(step, set(values)) for step, values in notes.points] == [
        (step, {f"s0-s1/{name}" for name in LOSSES}) for step in (2, 4, 5)
    ]
    assert [(step, name, image.shape) for step, name, image in notes.images] == [
        (step, "s0-s1/sheet", (52, 72, 1)) for step in (3, 5)
    ]
    assert np.array_equal(np.asarray(Image.open(sheets[1])), notes.images[1][2][..., 0])


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
    assert [step for step, _ in notes.points] == [2, 4, 6]


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


def test_a_loss_that_is_not_finite(run):
    message = "^the .* loss is .* at step 2: try lower learning rates$"
    with pytest.raises(ValueError, match=message) as error:
        run(generator_learning_rate=1e30, discriminator_learning_rate=1e30, quick=True)
    assert "\n" not in str(error.value)


def test_an_empty_group_is_named(run):
    with pytest.raises(ValueError, match="^group 'c0 / s1' has no example in the training split"):
        run(counts=((2, 0), (1, 1)))
