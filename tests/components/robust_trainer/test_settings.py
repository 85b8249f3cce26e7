import pytest
from pydantic import ValidationError

from model_patching.components.robust_trainer.settings import RobustTrainerSettings


def test_round_trip():
    settings = RobustTrainerSettings(method="dfr", dfr_strengths=(0.5, 0.1), learning_rate=0.1)
    assert RobustTrainerSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    "text",
    [
        '{"method": "jtt"}',
        '{"backbone": "ResNet51"}',
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


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "erm", "group_dro_step": 0.1}, "group_dro_step needs method group_dro or camel"),
        (
            {"method": "irm", "group_dro_per_class": True},
            "group_dro_per_class needs method group_dro or camel",
        ),
        ({"method": "erm", "irm_penalty_weight": 1.0}, "irm_penalty_weight needs method irm"),
        ({"method": "camel", "irm_anneal_steps": 5}, "irm_anneal_steps needs method irm"),
        ({"method": "erm", "dfr_sets": 5}, "dfr_sets needs method dfr"),
        ({"method": "erm", "consistency_weight": 1.0}, "consistency_weight needs a consistency penalty"),
        (
            {"consistency": "none", "consistency_weight": 1.0},
            "consistency_weight needs a consistency penalty",
        ),
        ({"weights": "imagenet"}, "weights needs a backbone of keras.applications; small_cnn has none"),
        (
            {"backbone": "EfficientNetB0", "weights": "here.h5"},
            "Keras rescales the images of EfficientNetB0 for weights imagenet alone",
        ),
        ({"optimizer": "adam", "momentum": 0.5}, "momentum needs optimizer sgd"),
        ({"optimizer": "adam", "decoupled_weight_decay": 0.1}, "is optimizer adamw"),
        ({"optimizer": "adamw"}, "adamw without decoupled_weight_decay is optimizer adam"),
        ({"selection": "last", "patience": 3}, "patience needs selection worst_group or average"),
        ({"strategy": "mirrored", "jit_compile": True}, "jit_compile needs strategy default"),
    ],
)
def test_nothing_is_ignored(changes, message):
    with pytest.raises(ValidationError, match=message):
        RobustTrainerSettings(**changes)


@pytest.mark.parametrize(
    "changes, penalty, uses_patches, per_class",
    [
        ({"method": "camel"}, "camel", True, True),
        ({"method": "camel", "consistency": "kl", "group_dro_per_class": False}, "kl", True, False),
        ({"method": "camel", "consistency": "none"}, "none", False, True),
        ({"method": "group_dro"}, "none", False, False),
        ({"method": "erm", "consistency": "triplet_js"}, "triplet_js", True, False),
        ({"method": "irm", "augmentation_training": "augmented"}, "none", True, False),
    ],
)
def test_what_null_means(changes, penalty, uses_patches, per_class):
    settings = RobustTrainerSettings(**changes)
    assert (settings.penalty, settings.uses_patches, settings.per_class) == (penalty, uses_patches, per_class)
