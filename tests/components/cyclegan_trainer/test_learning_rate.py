import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.learning_rate import ConstantThenLinear, learning_rate
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings


@pytest.mark.parametrize(
    "decay_from, expected",
    [
        # Half of ten steps at .2, then .2 * (1 - step / 10) / .5
        (0.5, [0.2, 0.2, 0.2, 0.16, 0.08, 0.04, 0.0, 0.0]),
        (0.0, [0.2, 0.12, 0.1, 0.08, 0.04, 0.02, 0.0, 0.0]),
        (0.8, [0.2, 0.2, 0.2, 0.2, 0.2, 0.1, 0.0, 0.0]),
    ],
)
def test_falls_linearly_to_zero(decay_from, expected):
    settings = CycleGANTrainerSettings(steps=10, decay_from=decay_from)
    rate = learning_rate(0.2, settings)
    found = [float(rate(tf.constant(step))) for step in (0, 4, 5, 6, 8, 9, 10, 11)]
    assert found == pytest.approx(expected, abs=1e-7)
    assert ConstantThenLinear(**rate.get_config()).get_config() == rate.get_config()


def test_constant():
    assert learning_rate(0.2, CycleGANTrainerSettings(steps=10, schedule="constant")) == 0.2
