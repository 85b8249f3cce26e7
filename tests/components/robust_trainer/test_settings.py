import pytest
from pydantic import ValidationError

from model_patching.components.robust_trainer.settings import RobustTrainerSettings


def test_round_trip():
    settings = RobustTrainerSettings(method="group_dro", learning_rate=0.1, mixed_precision="off")
    assert RobustTrainerSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    "text",
    [
        '{"method": "irm"}',
        '{"epochs": 0}',
        '{"steps_per_epoch": 0}',
        '{"batch_size": 1.5}',
        '{"learning_rate": 0}',
        '{"weight_decay": -1}',
        '{"consistency_weight": -1}',
        '{"group_dro_per_class": 1}',
        '{"lambda": 5}',
    ],
)
def test_bad_values(text):
    with pytest.raises(ValidationError):
        RobustTrainerSettings.model_validate_json(text)
