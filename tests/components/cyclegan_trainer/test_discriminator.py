import numpy as np
import pytest

from model_patching.components.cyclegan_trainer.discriminator import discriminator
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings


def build(shape, filters=None, seed=0, **settings):
    settings = CycleGANTrainerSettings(discriminator_filters=filters, **settings)
    return discriminator(shape, settings, seed, "d")


def images(count, shape):
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype(np.float32)


@pytest.mark.parametrize("norm", ["instancenorm", "batchnorm"])
@pytest.mark.parametrize(
    "shape, filters, patches",
    # All but the last of the filters halve: 28 is padded to 28, 32 and 32, 30×21 to 32×24.
    [
        ((28, 28, 1), (4, 8), (14, 14)),
        ((28, 28, 1), (4, 8, 8, 8), (4, 4)),
        ((32, 32, 3), (4, 8, 8), (8, 8)),
        ((30, 21, 5), (4, 8, 8), (8, 6)),
    ],
)
def test_one_logit_for_each_patch(shape, filters, patches, norm):
    logits = build(shape, filters, norm=norm)(images(3, shape))
    assert logits.shape == (3, *patches, 1) and logits.dtype == np.float32


def test_judges_each_image_alone_with_instance_normalization():
    model = build((30, 21, 3), (4, 8, 8))
    batch = images(4, (30, 21, 3))
    together = model(batch, training=True).numpy()
    alone = np.concatenate([model(batch[i : i + 1], training=True).numpy() for i in range(4)])
    assert together == pytest.approx(alone, abs=1e-5)
    assert together.std() > 1e-4


def test_batch_normalization_looks_at_the_whole_batch():
    model = build((8, 8, 1), (4, 8), norm="batchnorm", batch_size=4)
    batch = images(4, (8, 8, 1))
    other = np.concatenate([batch[:1], 1 - batch[1:] ** 2])
    assert not np.allclose(model(batch, training=True)[0], model(other, training=True)[0], atol=1e-3)


def test_a_patch_of_one_pixel_is_still_seen():
    # Three halvings of 8 leave 1×1, where instance normalization would turn everything into zero.
    logits = build((8, 8, 1), (4, 8, 8, 8))(images(5, (8, 8, 1))).numpy()
    assert logits.shape == (5, 1, 1, 1)
    assert len(np.unique(logits)) == 5


def test_the_seed_decides_the_weights():
    first, again, other = (build((8, 8, 1), (4, 8, 8), seed).get_weights() for seed in (1, 1, 2))
    kernels = [i for i, weights in enumerate(first) if weights.ndim == 4]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(first[i], other[i]) for i in kernels)


def test_parameter_count_by_hand():
    # 4*4*1*4 + 4; 4*4*4*8 with a scale and a shift of 8 channels each; 4*4*8*1 + 1.
    assert build((8, 8, 1), (4, 8)).count_params() == (64 + 4) + (512 + 16) + (128 + 1)


def test_the_published_size():
    assert round(build((28, 28, 1), norm="batchnorm").count_params(), -4) == 2_770_000


@pytest.mark.parametrize("shape, patches", [((128, 128, 3), 16), ((224, 224, 3), 28)])
def test_larger_images(shape, patches):
    assert build(shape, norm="batchnorm").output_shape == (None, patches, patches, 1)
