import keras
import pytest

from model_patching.components.robust_trainer.optimizer import make_optimizer
from model_patching.components.robust_trainer.settings import RobustTrainerSettings


@pytest.mark.parametrize(
    "schedule, expected",
    # Cosine over 8 steps: rate * (1 + cos(pi * step / 8)) / 2; at steps 0, 2, 4, 8.
    [
        ("constant", [0.4, 0.4, 0.4, 0.4]),
        ("linear", [0.4, 0.3, 0.2, 0.0]),
        ("cosine", [0.4, 0.341421, 0.2, 0.0]),
    ],
)
def test_learning_rate(schedule, expected):
    settings = RobustTrainerSettings(learning_rate=0.4, schedule=schedule, epochs=4, steps_per_epoch=2)
    optimizer = make_optimizer(settings)
    optimizer.build([])
    found = []
    for step in (0, 2, 4, 8):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "changes, expected",
    # The first step at rate .1 from a weight of 2 with a gradient of 3. SGD: 2 - .3; with decoupled decay of .5 first
    # 2 - .1 * .5 * 2 = 1.9, then 1.6. Adam's first step is the rate itself.
    [
        ({"optimizer": "sgd"}, 1.7),
        ({"optimizer": "sgd", "decoupled_weight_decay": 0.5}, 1.6),
        ({"optimizer": "adam"}, 1.9),
        ({"optimizer": "adamw", "decoupled_weight_decay": 0.5}, 1.8),
    ],
)
def test_a_step_by_hand(changes, expected):
    optimizer = make_optimizer(RobustTrainerSettings(learning_rate=0.1, schedule="constant", **changes))
    weight = keras.Variable(2.0)
    optimizer.apply([keras.ops.convert_to_tensor(3.0)], [weight])
    assert float(weight.value) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("momentum, expected", [(0.0, 1.4), (0.9, 1.13)])
def test_momentum(momentum, expected):
    # Two steps of .3 from 2; with momentum .9 the second is .3 + .27.
    settings = RobustTrainerSettings(learning_rate=0.1, schedule="constant", momentum=momentum)
    optimizer = make_optimizer(settings)
    weight = keras.Variable(2.0)
    for _ in range(2):
        optimizer.apply([keras.ops.convert_to_tensor(3.0)], [weight])
    assert float(weight.value) == pytest.approx(expected, abs=1e-5)
