import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.generator import generator, instance_normalization


def images(count, shape):
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype(np.float32)


def strong(model):
    """The same network with larger weights: at the start its output hardly leaves zero."""
    for variable in model.trainable_variables:
        variable.assign(variable * 5.0)
    return model


@pytest.mark.parametrize(
    "shape, filters",
    [((28, 28, 1), (4, 8, 8)), ((32, 32, 3), (4, 8)), ((30, 21, 3), (4, 8, 8)), ((8, 8, 1), (4, 8, 8))],
)
def test_output_has_the_shape_and_range_of_the_input(shape, filters):
    model = strong(generator(shape, filters, 0, "g"))
    output = model(images(3, shape)).numpy()
    assert output.shape == (3, *shape) and output.dtype == np.float32
    assert np.abs(output).max() <= 1.0
    assert np.abs(output).max() > 0.5  # it isn't just small


@pytest.mark.parametrize("training", [True, False])
def test_translates_each_image_alone(training):
    model = strong(generator((30, 21, 3), (4, 8), 0, "g"))
    batch = images(4, (30, 21, 3))
    together = model(batch, training=training).numpy()
    alone = np.concatenate([model(batch[i : i + 1], training=training).numpy() for i in range(4)])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.array_equal(together, model(batch, training=not training).numpy())


def test_instance_normalization_is_over_the_pixels_of_a_channel():
    image = tf.keras.Input((5, 4, 3))
    layer = tf.keras.Model(image, instance_normalization(image))
    batch = np.random.default_rng(0).normal([1, -20, 300], [1, 5, 40], (2, 5, 4, 3)).astype(np.float32)
    mean, std = batch.mean(axis=(1, 2), keepdims=True), batch.std(axis=(1, 2), keepdims=True)
    assert layer(batch).numpy() == pytest.approx((batch - mean) / std, abs=1e-3)


@pytest.mark.parametrize("filters", [(4, 8), (4, 8, 16)])
def test_no_image_is_erased_where_the_bottom_is_one_pixel(filters):
    # Three halvings of 8 leave 1×1, where instance normalization would turn everything into zero.
    model = strong(generator((8, 8, 1), filters, 0, "g"))
    skipless = tf.keras.Model(
        model.input, [layer.output for layer in model.layers if "conv2d" in layer.name][:-1]
    )
    bottom = skipless(images(2, (8, 8, 1)))[len(filters) - 1].numpy()
    norms = [layer for layer in model.layers if "group_normalization" in layer.name]
    assert not np.allclose(bottom[0], bottom[1])
    # Downs but the first, and but the bottom if it is 1×1; ups but the last.
    assert len(norms) == {2: 1 + 1, 3: 1 + 2}[len(filters)]


def test_pads_with_black_and_crops_back():
    # An image with a black frame of its own is translated as the smaller one inside, which is padded: 30×21 → 32×24.
    inner = images(2, (30, 21, 1))
    framed = np.full((2, 32, 24, 1), -1, np.float32)
    framed[:, 1:31, 1:22] = inner
    small = strong(generator((30, 21, 1), (4, 8), 0, "small"))
    large = strong(generator((32, 24, 1), (4, 8), 0, "large"))
    assert small(inner).numpy() == pytest.approx(large(framed).numpy()[:, 1:31, 1:22], abs=1e-6)


def test_the_seed_decides_the_weights():
    first, again, other = (
        generator((8, 8, 1), (4, 8, 8), seed, f"g{number}").get_weights()
        for number, seed in enumerate((1, 1, 2))
    )
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
    assert generator((8, 8, 1), (4, 8), 0, "g").count_params() == expected


def test_the_published_size():
    # 6.27 million with batch normalization, which keeps two statistics more for each channel.
    model = generator((28, 28, 1), (32, 64, 128, 256, 512), 0, "g")
    assert model.count_params() == pytest.approx(6.27e6, rel=0.005)
