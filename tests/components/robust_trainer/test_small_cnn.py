import keras
import numpy as np
import pytest

from model_patching.components.precision import building_with
from model_patching.components.robust_trainer.small_cnn import small_cnn


def test_layers_and_parameters():
    model = small_cnn((28, 28, 1), 2, 0)
    # Sides: 28 → 28 → 26 → 13 → 13 → 11 → 5. Parameters: 3*3*1*32 + 32 = 320; 3*3*32*32 + 32 = 9248;
    # 3*3*32*64 + 64 = 18496; 3*3*64*64 + 64 = 36928; 5*5*64*64 + 64 = 102464; 64*2 + 2 = 130.
    assert model.count_params() == 320 + 9248 + 18496 + 36928 + 102464 + 130
    rates = [layer.rate for layer in model.layers if "dropout" in layer.name]
    assert rates == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("shape, classes", [((28, 28, 1), 2), ((10, 13, 3), 5)])
def test_gives_logits(shape, classes):
    logits = small_cnn(shape, classes, 0)(
        np.random.default_rng(0).uniform(-1, 1, (4, *shape)).astype(np.float32)
    )
    assert logits.shape == (4, classes)
    assert (abs(logits.numpy().sum(axis=1) - 1) > 1e-3).all()  # not yet through a softmax


def test_the_seed_decides_the_weights_and_the_dropout():
    images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 1)).astype(np.float32)
    models = [small_cnn((16, 16, 1), 2, seed) for seed in (1, 1, 2)]
    kernels = [model.get_weights()[0] for model in models]
    outputs = [model(images, training=True).numpy() for model in models]
    assert np.array_equal(kernels[0], kernels[1]) and np.array_equal(outputs[0], outputs[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert not np.array_equal(outputs[0], models[0](images, training=False))


def test_other_draws_in_the_process_change_nothing():
    images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 1)).astype(np.float32)
    outputs = []
    for state in (1, 2):
        keras.utils.set_random_seed(state)
        outputs.append(small_cnn((16, 16, 1), 2, 7)(images, training=True).numpy())
    assert np.array_equal(*outputs)


def test_logits_are_float32_in_mixed_precision():
    with building_with("mixed_bfloat16"):
        model = small_cnn((16, 16, 1), 2, 0)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert model(np.zeros((1, 16, 16, 1), np.float32)).dtype == np.float32


@pytest.mark.parametrize("shape", [(9, 28, 1), (28, 9, 1)])
def test_too_small_images_give_one_line(shape):
    message = f"^images of {shape[0]}×{shape[1]} are too small for the small CNN: it needs 10×10 or more$"
    with pytest.raises(ValueError, match=message):
        small_cnn(shape, 2, 0)
