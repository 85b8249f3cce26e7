"""The CycleGANTrainer node: learns to translate images between the subgroups of a class."""

from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from model_patching.components.code_hash import code_hash
from model_patching.components.cyclegan_trainer import executor
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.tracking import TrackingSettings
from model_patching.data.dataset import Dataset


class CycleGANTrainerSpec(component_spec.ComponentSpec):
    """Input, outputs and exec properties of the CycleGANTrainer."""

    PARAMETERS: ClassVar = {
        "settings": component_spec.ExecutionParameter(type=str),
        "dataset": component_spec.ExecutionParameter(type=str),
        "tracking": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS: ClassVar = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
    }


class CycleGANTrainer(base_component.BaseComponent):
    """Trains one model of translators on the `train` split, for all classes together.

    `outputs["model"]` holds the translators (see `export_translators`), `outputs["model_run"]` the curves and the
    sample sheets.
    """

    SPEC_CLASS = CycleGANTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        settings: CycleGANTrainerSettings,
        dataset: Dataset,
        tracking: TrackingSettings,
        seed: int,
    ):
        """Wires the node.

        Args:
            examples: Examples with the records of `model_patching.data.schema`.
            settings: networks, losses and steps.
            dataset: classes, subgroups and image shape.
            tracking: where curves and sheets go.
            seed: fixes the result on a CPU.
        """
        super().__init__(
            spec=CycleGANTrainerSpec(
                examples=examples,
                settings=settings.model_dump_json(),
                dataset=dataset.model_dump_json(),
                tracking=tracking.model_dump_json(),
                seed=seed,
                code_hash=code_hash("cyclegan_trainer"),
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            )
        )
