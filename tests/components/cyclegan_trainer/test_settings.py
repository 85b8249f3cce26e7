import pytest
from pydantic import ValidationError

from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings, ImageAugmentation


def test_round_trip():
    settings = CycleGANTrainerSettings(generator_filters=(4, 8), batch_size=7, replay_buffer_size=7)
    assert CycleGANTrainerSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    "text",
    [
        '{"steps": 0}',
        '{"generator_filters": [8]}',
        '{"discriminator_filters": [8, 0]}',
        '{"generator_learning_rate": 0}',
        '{"generator_beta_1": 1}',
        '{"take": 0}',
        '{"take": "all"}',
        '{"augmentation": {"crop": 0.5}}',
        '{"discriminator_augmentation": {"probability": 0.5}}',
        '{"augmentation": {"probability": 0, "rotation": 5}}',
        '{"decay_from": 1}',
        '{"cycle_loss_scale": -1}',
        '{"epochs": 0}',
        '{"epochs": 3, "steps": 7}',
    ],
)
def test_bad_values(text):
    with pytest.raises(ValidationError):
        CycleGANTrainerSettings.model_validate_json(text)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"batch_size": 50, "replay_buffer_size": 49},
            "replay_buffer_size 49 must be 0 or at least batch_size 50",
        ),
        ({"translate_with": "moving_averages"}, "translate_with: moving_averages needs norm: batchnorm"),
        ({"gradient_penalty_scale": 5.0}, "gradient_penalty_scale needs a gradient_penalty"),
        (
            {"target_cycle_loss_scale": 1.0, "source_cycle_loss_only": True},
            "target_cycle_loss_scale and source_cycle_loss_only exclude each other",
        ),
        ({"schedule": "constant", "decay_from": 0.3}, "decay_from needs schedule: linear"),
        (
            {"jit_compile": True, "discriminator_augmentation": ImageAugmentation(rotation=1.0)},
            "jit_compile and discriminator_augmentation exclude each other",
        ),
    ],
)
def test_nothing_is_accepted_and_ignored(changes, message):
    with pytest.raises(ValidationError, match=message):
        CycleGANTrainerSettings(**changes)


def test_with_what_they_need_they_are_accepted():
    CycleGANTrainerSettings(batch_size=50, replay_buffer_size=0)
    CycleGANTrainerSettings(translate_with="moving_averages", norm="batchnorm")
    CycleGANTrainerSettings(gradient_penalty_scale=5.0, gradient_penalty="dragan")
    CycleGANTrainerSettings(take="smallest_group", schedule="linear", decay_from=0.3)
