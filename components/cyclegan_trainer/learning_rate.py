"""The learning rates' course over the training."""

import keras
import tensorflow as tf

from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings


def learning_rate(start: float, settings: CycleGANTrainerSettings) -> "float | ConstantThenLinear":
    """The rate as the settings `schedule`, `decay_from` and `steps` say, from `start` on."""
    if settings.schedule == "constant":
        return start
    return ConstantThenLinear(start, settings.steps, settings.decay_from)


class ConstantThenLinear(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that stays for a share of the steps and falls linearly to zero over the rest."""

    def __init__(self, learning_rate: float, steps: int, decay_from: float):
        self.learning_rate = learning_rate
        self.steps = steps
        self.decay_from = decay_from

    def __call__(self, step):
        """Rate of `step` (an integer tensor); float32 []."""
        remaining = 1.0 - tf.cast(step, tf.float32) / self.steps
        return self.learning_rate * tf.clip_by_value(remaining / (1.0 - self.decay_from), 0.0, 1.0)

    def get_config(self):
        """For Keras's serialization."""
        return {"learning_rate": self.learning_rate, "steps": self.steps, "decay_from": self.decay_from}
