import numpy as np
import pytest

from model_patching.components.cyclegan_trainer.discriminator import discriminator


def images(count, shape):
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    "shape, filters, patches",
    # All but the last of the filters halve: 28 is padded to 28, 32 and 32, 30×21 to 32×24.
    [
        ((28, 28, 1), (4, 8), (14, 14)),
        ((28, 28, 1), (4, 8, 8, 8), (4, 4)),
        ((32, 32, 3), (4, 8, 8), (8, 8)),
        ((30, 21, 3), (4, 8, 8), (8, 6)),
    ],
)
def test_one_logit_for_each_patch(shape, filters, patches):
    logits = discriminator(shape, filters, 0, "d")(images(3, shape))
    assert logits.shape == (3, *patches, 1) and logits.dtype == np.float32


def test_judges_each_image_alone():
    model = discriminator((30, 21, 3), (4, 8, 8), 0, "d")
    batch = images(4, (30, 21, 3))
    together = model(batch, training=True).numpy()
    alone = np.concatenate([model(batch[i : i + 1], training=True).numpy() for i in range(4)])
    assert together == pytest.approx(alone, abs=1e-5)
    assert together.std() > 1e-4


def test_a_patch_of_one_pixel_is_still_seen():
    # Three halvings of 8 leave 1×1, where instance normalization would turn everything into zero.
    logits = discriminator((8, 8, 1), (4, 8, 8, 8), 0, "d")(images(5, (8, 8, 1))).numpy()
    assert logits.shape == (5, 1, 1, 1)
    assert len(np.unique(logits)) == 5


def test_the_seed_decides_the_weights():
    first, again, other = (
        discriminator((8, 8, 1), (4, 8, 8), seed, f"d{number}").get_weights()
        for number, seed in enumerate((1, 1, 2))
    )
    kernels = [i for i, weights in enumerate(first) if weights.ndim == 4]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(first[i], other[i]) for i in kernels)


def test_parameter_count_by_hand():
    # 4*4*1*4 + 4; 4*4*4*8 with a scale and a shift of 8 channels each; 4*4*8*1 + 1.
    assert discriminator((8, 8, 1), (4, 8), 0, "d").count_params() == (64 + 4) + (512 + 16) + (128 + 1)


def test_the_published_size():
    # 2.77 million with batch normalization, which keeps two statistics more for each channel.
    model = discriminator((28, 28, 1), (64, 128, 256, 512), 0, "d")
    assert model.count_params() == pytest.approx(2.77e6, rel=0.005)
