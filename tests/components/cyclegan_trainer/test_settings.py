import pytest
from pydantic import ValidationError

from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings


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
        '{"beta_1": 1}',
        '{"cycle_loss_scale": -1}',
        '{"epochs": 3}',
    ],
)
def test_bad_values(text):
    with pytest.raises(ValidationError):
        CycleGANTrainerSettings.model_validate_json(text)


def test_the_replay_buffer_holds_a_batch():
    with pytest.raises(ValidationError, match="replay_buffer_size 49 must be at least batch_size 50"):
        CycleGANTrainerSettings(batch_size=50, replay_buffer_size=49)
