"""The classifier's optimizer and its learning rate."""

import keras

from model_patching.components.robust_trainer.settings import RobustTrainerSettings


def make_optimizer(settings: RobustTrainerSettings) -> keras.optimizers.Optimizer:
    """SGD, Adam or AdamW by the settings, not built yet."""
    rate = _learning_rate(settings)
    decay = settings.decoupled_weight_decay or None
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=settings.momentum, weight_decay=decay)
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.AdamW(rate, weight_decay=decay)


def _learning_rate(
    settings: RobustTrainerSettings,
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    steps = settings.epochs * settings.steps_per_epoch
    if settings.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    if settings.schedule == "linear":
        return keras.optimizers.schedules.PolynomialDecay(
            settings.learning_rate, steps, end_learning_rate=0.0
        )
    return settings.learning_rate
