import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from model_patching.components.cyclegan_trainer import probes as module
from model_patching.components.cyclegan_trainer.probes import Probes, probe, probe_accuracy, train_probes
from model_patching.components.cyclegan_trainer.settings import ProbeSettings
from model_patching.data.arrays import load_arrays

SETTINGS = ProbeSettings(filters=(8, 16), steps=150, batch_size=8, learning_rate=2e-3)
QUICK = SETTINGS.model_copy(update={"steps": 3})


@pytest.fixture
def toy_arrays(tmp_path, make_dataset, write_records, toy_records):
    """Toy images as arrays, and their data set."""
    paths = (tmp_path / f"{number}.gz" for number in itertools.count())

    def make(counts, shape, seed=0):
        dataset = make_dataset(len(counts), len(counts[0]), shape)
        return load_arrays(
            [write_records(next(paths), toy_records(counts, shape, seed=seed))], dataset
        ), dataset

    return make


@pytest.fixture
def eagerly():
    """For a few steps, building the graph would take longer than they do."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def trained(arrays, dataset, settings=SETTINGS, seed=1):
    probes = Probes(dataset.image_shape, dataset, settings, seed)
    train_probes(probes, arrays, dataset, settings, seed)
    return probes


@pytest.mark.parametrize(
    "counts, shape",
    [
        (((60, 6), (6, 60)), (8, 8, 1)),
        (((50, 6, 6), (6, 50, 6), (6, 6, 50)), (18, 24, 3)),
    ],
)
def test_tell_class_and_subgroup_though_the_one_nearly_gives_the_other_away(toy_arrays, counts, shape):
    train, dataset = toy_arrays(counts, shape)
    held_out, _ = toy_arrays(np.full_like(counts, 40), shape, seed=1)
    groups = probe_accuracy(trained(train, dataset), held_out, dataset, 40)
    assert len(groups) == dataset.num_groups
    for group in groups:
        assert group["count"] == 40
        assert group["class_accuracy"] >= 0.95 and group["subgroup_accuracy"] >= 0.95


def weights_of(probes):
    return [variable.numpy() for variable in probes.variables]


def equal(weights, others):
    return [np.array_equal(one, other) for one, other in zip(weights, others, strict=True)]


def test_the_seed_alone_decides(toy_arrays, eagerly):
    train, dataset = toy_arrays(((9, 3), (2, 8)), (8, 8, 1))
    weights = []
    for state, seed in ((1, 5), (2, 5), (2, 6)):
        keras.utils.set_random_seed(state)
        weights.append(weights_of(trained(train, dataset, QUICK, seed)))
    assert all(equal(weights[0], weights[1]))
    assert not any(equal(weights[0], weights[2]))


def test_variables_hold_all_that_classifies(toy_arrays, eagerly):
    train, dataset = toy_arrays(((9, 3), (2, 8)), (8, 8, 1))
    probes = trained(train, dataset, QUICK)
    fresh = Probes(dataset.image_shape, dataset, QUICK, 9)
    images = np.random.default_rng(0).uniform(-1, 1, (50, 8, 8, 1)).astype(np.float32)
    for variable, value in zip(fresh.variables, probes.variables, strict=True):
        assert isinstance(variable, tf.Variable)
        variable.assign(value)
    assert np.array_equal(fresh.label(images), probes.label(images))
    assert np.array_equal(fresh.subgroup(images), probes.subgroup(images))
    assert len({id(variable) for variable in probes.variables}) == len(probes.variables)


def convolution_cost(model):
    """Multiplications of all convolutions for one image."""
    return sum(
        np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3])
        for layer in model.layers
        if isinstance(layer, layers.Conv2D)
    )


@pytest.mark.parametrize(
    "shape, side",
    [
        ((8, 8, 1), 8),
        ((9, 31, 1), 9),
        ((27, 27, 1), 27),
        ((28, 28, 1), 14),
        ((64, 80, 3), 16),
        ((128, 128, 3), 16),
        ((224, 224, 3), 14),
        ((256, 256, 3), 16),
    ],
)
def test_any_size_at_a_bounded_cost(shape, side):
    model = probe(shape, 3, (32, 64), 0, "probe")
    images = np.random.default_rng(0).uniform(-1, 1, (2, *shape)).astype(np.float32)
    logits = model(images, training=False).numpy()
    assert logits.shape == (2, 3) and logits.dtype == np.float32
    assert abs(logits[0] - logits[1]).max() > 0
    sides = [layer.output.shape[1] for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert sides[-4:] == [side, -(-side // 2), -(-side // 2), -(-side // 4)]  # the blocks
    # The last layer sees where something is: it has a weight for each place.
    assert model.layers[-1].kernel.shape[0] == np.prod(model.layers[-3].output.shape[1:])
    assert convolution_cost(model) <= 12 * convolution_cost(probe((28, 28, 3), 3, (32, 64), 0, "probe"))


@pytest.fixture
def probes(make_dataset):
    return Probes((8, 8, 1), make_dataset(2, 3), QUICK, 1)


def test_classify_gives_the_most_probable(probes, monkeypatch):
    images = np.random.default_rng(0).uniform(-1, 1, (7, 8, 8, 1)).astype(np.float32)
    label, subgroup = probes.classify(images)
    assert label.tolist() == np.argmax(probes.label(images), axis=1).tolist()
    assert subgroup.tolist() == np.argmax(probes.subgroup(images), axis=1).tolist()
    assert np.issubdtype(label.dtype, np.integer) and np.issubdtype(subgroup.dtype, np.integer)

    sizes = []
    monkeypatch.setattr(module, "BATCH", 3)
    network = probes.label
    probes.label = lambda batch, training: (sizes.append(len(batch)), network(batch, training=training))[1]
    again = probes.classify(tf.constant(images))
    assert sizes == [3, 3, 1]
    assert again[0].tolist() == label.tolist() and again[1].tolist() == subgroup.tolist()


def test_subgroup_features_are_what_the_probe_decides_by(probes, monkeypatch):
    images = np.random.default_rng(0).uniform(-1, 1, (7, 8, 8, 1)).astype(np.float32)
    kernel, bias = probes.subgroup.layers[-1].get_weights()
    monkeypatch.setattr(module, "BATCH", 3)
    features = probes.subgroup_features(images)
    assert features @ kernel + bias == pytest.approx(probes.subgroup(images).numpy(), abs=1e-5)


def test_nothing(probes):
    nothing = np.zeros((0, 8, 8, 1), np.float32)
    label, subgroup = probes.classify(nothing)
    assert label.shape == subgroup.shape == (0,)
    assert len(probes.subgroup_features(nothing)) == 0


def test_accuracy_by_hand(make_arrays, make_dataset):
    class Reads:
        """Says class 1 from pixel value 6 on, and subgroup 1 to odd values."""

        def classify(self, images):
            pixel = np.rint((np.asarray(images)[:, 0, 0, 0] + 1) * 127.5).astype(int)
            return (pixel >= 6).astype(int), pixel % 2

    # Examples 0 ... 3; 4 ... 6; none; 7, 8, 9, of which the limit leaves out 3 alone.
    arrays = make_arrays([[4, 3], [0, 3]])
    groups = probe_accuracy(Reads(), arrays, make_dataset(image_shape=(2, 2, 1)), 3)
    assert groups == [
        group | {"subgroup_accuracy": pytest.approx(group["subgroup_accuracy"])}
        for group in (
            {
                "label": 0,
                "subgroup": 0,
                "name": "c0 / s0",
                "count": 3,
                "class_accuracy": 1.0,
                "subgroup_accuracy": 2 / 3,
            },
            {
                "label": 0,
                "subgroup": 1,
                "name": "c0 / s1",
                "count": 3,
                "class_accuracy": 2 / 3,
                "subgroup_accuracy": 1 / 3,
            },
            {
                "label": 1,
                "subgroup": 0,
                "name": "c1 / s0",
                "count": 0,
                "class_accuracy": None,
                "subgroup_accuracy": None,
            },
            {
                "label": 1,
                "subgroup": 1,
                "name": "c1 / s1",
                "count": 3,
                "class_accuracy": 1.0,
                "subgroup_accuracy": 2 / 3,
            },
        )
    ]


def test_an_empty_group_is_named(toy_arrays, eagerly):
    train, dataset = toy_arrays(((5, 0), (2, 5)), (8, 8, 1))
    with pytest.raises(ValueError, match="^group 'c0 / s1' has no example in the training split$"):
        trained(train, dataset, QUICK)


def test_a_loss_that_is_not_finite(toy_arrays, eagerly):
    train, dataset = toy_arrays(((5, 5), (5, 5)), (8, 8, 1))
    with pytest.raises(
        ValueError,
        match="^the probes' loss is (nan|inf) at step 3: try a lower translation.probe.learning_rate$",
    ):
        trained(train, dataset, QUICK.model_copy(update={"learning_rate": 1e38}))
