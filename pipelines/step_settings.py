"""Settings of a pipeline's steps in layers: of all steps, of those that train, of single ones."""

from collections.abc import Mapping
from typing import TypeVar

from model_patching.data.settings import Settings

StepSettings = TypeVar("StepSettings", bound=Settings)

_TRAINERS = ("CycleGANTrainer", "RobustTrainer", "BaselineTrainer")


def trains(node_id: str) -> bool:
    """Whether a node trains; there may be a CycleGANTrainer for each class."""
    return node_id.startswith(_TRAINERS)


def check_accelerators(settings: Mapping[str, Settings], example: str) -> None:
    """Refuses a number of accelerators without their type.

    Args:
        settings: with `accelerator` and `accelerator_count`, by the key that they are at.
        example: of a type.

    Raises:
        ValueError: one has none.
    """
    for key, step in settings.items():
        if step.accelerator_count and step.accelerator is None:
            raise ValueError(
                f"{key}.accelerator_count: {step.accelerator_count} of what? give accelerator, too, such as {example}"
            )


def layered(*layers: StepSettings) -> StepSettings:
    """Settings of one class over each other: of each key the last layer's that is not null."""
    said = [{key: value for key, value in layer if value is not None} for layer in layers]
    return type(layers[0])(**{key: value for layer in said for key, value in layer.items()})
