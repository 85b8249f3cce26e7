import keras
import numpy as np
import pytest

from model_patching.components.cyclegan_trainer.generator import generator, published_generator_filters
from model_patching.components.cyclegan_trainer.normalization import BatchNormalization
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings


def build(shape, filters=None, seed=0, **settings):
    return generator(shape, CycleGANTrainerSettings(generator_filters=filters, **settings), seed, "g")


def images(count, shape):
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype(np.float32)


def strong(model):
    """The same network with larger weights: at the start its output hardly leaves zero."""
    for variable in model.trainable_variables:
        variable.assign(variable * 5.0)
    return model


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("norm", ["instancenorm", "batchnorm"])
@pytest.mark.parametrize(
    "shape, filters",
    [((28, 28, 1), (4, 8, 8)), ((32, 32, 3), (4, 8)), ((30, 21, 5), (4, 8, 8)), ((8, 8, 1), (4, 8, 8))],
)
def test_output_has_the_shape_and_range_of_the_input(shape, filters, norm):
    model = strong(build(shape, filters, norm=norm))
    output = model(images(3, shape)).numpy()
    assert output.shape == (3, *shape) and output.dtype == np.float32
    assert np.abs(output).max() <= 1.0
    assert np.abs(output).max() > 0.5  # it isn't just small


@pytest.mark.parametrize("training", [True, False])
def test_translates_each_image_alone_with_instance_normalization(training):
    model = strong(build((30, 21, 3), (4, 8)))
    batch = images(4, (30, 21, 3))
    together = model(batch, training=training).numpy()
    alone = np.concatenate([model(batch[i : i + 1], training=training).numpy() for i in range(4)])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.array_equal(together, model(batch, training=not training).numpy())


@pytest.mark.parametrize("filters", [(4, 8), (4, 8, 16)])
def test_no_image_is_erased_where_the_bottom_is_one_pixel(filters):
    # Three halvings of 8 leave 1×1, where instance normalization would turn everything into zero.
    model = strong(build((8, 8, 1), filters))
    downs = keras.Model(model.input, [layer.output for layer in of_kind(model, keras.layers.Conv2D)])
    bottom = downs(images(2, (8, 8, 1)))[len(filters) - 1].numpy()
    assert not np.allclose(bottom[0], bottom[1])
    # Downs but the first, and but the bottom if it is 1×1; ups but the last.
    norms = of_kind(model, keras.layers.GroupNormalization)
    assert len(norms) == {2: 1 + 1, 3: 1 + 2}[len(filters)]


def test_batch_normalization_is_everywhere_but_after_the_first_and_the_last():
    assert len(of_kind(build((8, 8, 1), (4, 8, 16), norm="batchnorm"), BatchNormalization)) == 2 + 2


def test_pads_with_black_and_crops_back():
    # An image with a black frame of its own is translated as the smaller one inside, which is padded: 30×21 → 32×24.
    inner = images(2, (30, 21, 1))
    framed = np.full((2, 32, 24, 1), -1, np.float32)
    framed[:, 1:31, 1:22] = inner
    small, large = strong(build((30, 21, 1), (4, 8))), strong(build((32, 24, 1), (4, 8)))
    assert small(inner).numpy() == pytest.approx(large(framed).numpy()[:, 1:31, 1:22], abs=1e-6)


def test_residual_outputs_are_added_to_the_image():
    batch = images(3, (6, 6, 2))
    plain, residual = (
        strong(build((6, 6, 2), (4, 8), residual_outputs=residual)) for residual in (False, True)
    )
    # The same weights; what is added is the output before the tanh.
    added = residual(batch).numpy() - batch
    assert np.tanh(added) == pytest.approx(plain(batch).numpy(), abs=1e-5)
    assert abs(added).max() > 0.5 and abs(residual(batch)).numpy().max() > 1.0


def test_output_init_is_the_spread_of_the_last_layers_weights():
    narrow, wide = (build((8, 8, 3), (16, 32), output_init=output_init) for output_init in (0.02, 0.5))
    *others, narrow_kernel, _ = narrow.get_weights()
    *same, wide_kernel, _ = wide.get_weights()
    assert narrow_kernel.shape == wide_kernel.shape == (4, 4, 3, 32)
    assert narrow_kernel.std() == pytest.approx(0.02, rel=0.1)
    assert wide_kernel.std() == pytest.approx(0.5, rel=0.1)
    assert all(np.array_equal(a, b) for a, b in zip(others, same, strict=True))


def test_dropout_is_in_the_first_three_ups_while_training():
    model = strong(build((32, 32, 1), (4,) * 5, dropout=0.3))
    assert [layer.rate for layer in of_kind(model, keras.layers.Dropout)] == [0.3] * 3
    batch = images(2, (32, 32, 1))
    assert np.array_equal(model(batch, training=False), model(batch, training=False))
    assert not np.array_equal(model(batch, training=True), model(batch, training=True))


def test_dropout_is_drawn_by_the_seed():
    batch = images(2, (16, 16, 1))
    first, again = (strong(build((16, 16, 1), (4,) * 4, dropout=0.3)) for _ in range(2))
    assert np.array_equal(first(batch, training=True), again(batch, training=True))
    # Layers of one shape drop different places, and so do networks of different seeds.
    seeds = [
        layer.seed
        for seed in (0, 1, 2)
        for layer in of_kind(build((16, 16, 1), (4,) * 4, seed, dropout=0.3), keras.layers.Dropout)
    ]
    assert len(set(seeds)) == 9


def test_the_seed_decides_the_weights():
    first, again, other = (build((8, 8, 1), (4, 8, 8), seed).get_weights() for seed in (1, 1, 2))
    kernels = [i for i, weights in enumerate(first) if weights.ndim == 4]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(first[i], other[i]) for i in kernels)
    # Nor do the layers of a network share theirs: the second and third have one shape but for the inputs.
    flat = [first[i].reshape(-1) for i in kernels]
    for i, one in enumerate(flat):
        for another in flat[i + 1 :]:
            assert not np.array_equal(one[:32], another[:32])
    # Normal with a standard deviation of .02: 1024 weights put the estimate within 10 %.
    assert flat[2].std() == pytest.approx(0.02, rel=0.1)


def test_parameter_count_by_hand():
    # 8×8×1, filters 4 and 8. Downs: 4*4*1*4 and 4*4*4*8, the second with a scale and a shift of 8 channels each.
    # Up: 4*4*8*4, with 4 + 4; its output joins the skip of 4 channels. Last: 4*4*8*1 + 1.
    expected = 64 + (512 + 16) + (512 + 8) + (128 + 1)
    assert build((8, 8, 1), (4, 8)).count_params() == expected


def test_the_published_size():
    model = build((28, 28, 1), norm="batchnorm")
    assert round(model.count_params(), -4) == 6_270_000
    assert not of_kind(model, keras.layers.Dropout)


@pytest.mark.parametrize("side, downs", [(28, 5), (32, 5), (33, 7), (128, 7), (129, 8), (256, 8)])
def test_downs_for_a_size(side, downs):
    assert len(published_generator_filters((side, 20, 3))) == downs
    assert len(published_generator_filters((20, side, 1))) == downs


@pytest.mark.parametrize("side, downs", [(128, 7), (224, 8)])
def test_larger_images(side, downs):
    model = build((side, side, 3), norm="batchnorm")
    convolutions = of_kind(model, keras.layers.Conv2D)
    ups = of_kind(model, keras.layers.Conv2DTranspose)
    assert [layer.filters for layer in convolutions] == [64, 128, 256] + [512] * (downs - 3)
    assert [layer.filters for layer in ups] == [512] * (downs - 4) + [256, 128, 64, 3]
    assert convolutions[-1].output.shape[1:3] == (1, 1)
    assert [layer.rate for layer in of_kind(model, keras.layers.Dropout)] == [0.5] * 3
    assert model.output_shape == (None, side, side, 3)


def test_larger_than_published():
    with pytest.raises(ValueError, match="257 pixels: set generator_filters"):
        published_generator_filters((100, 257, 3))
    assert build((320, 320, 1), (2, 2)).output_shape == (None, 320, 320, 1)
