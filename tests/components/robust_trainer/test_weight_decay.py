import keras
import pytest

from model_patching.components.robust_trainer.weight_decay import weight_decay


def test_half_the_squares_times_the_rate():
    variables = [keras.Variable([[1.0, 2.0], [3.0, 0.0]]), keras.Variable([-4.0])]
    # 0.1 * 0.5 * (1 + 4 + 9 + 0 + 16) = 0.1 * 15
    assert weight_decay(variables, 0.1).numpy() == pytest.approx(1.5)
    assert weight_decay(variables, 0.0).numpy() == 0.0
