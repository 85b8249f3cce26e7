import pytest
import tensorflow as tf

from model_patching.components.robust_trainer.erm import erm_loss


def test_is_the_mean():
    # (1 + 2 + 3 + 6) / 4
    assert erm_loss(tf.constant([1.0, 2.0, 3.0, 6.0])).numpy() == pytest.approx(3.0)
