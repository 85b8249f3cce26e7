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

ANY_BATCH_SIZE = 128  # that translators render together whose result doesn't depend on it


class CycleGANTrainerSpec(component_spec.ComponentSpec):
    """Input, outputs and exec properties of the CycleGANTrainer."""

    PARAMETERS: ClassVar = {
        "settings": component_spec.ExecutionParameter(type=str),
        "dataset": component_spec.ExecutionParameter(type=str),
        "tracking": component_spec.ExecutionParameter(type=str),
        "label": component_spec.ExecutionParameter(type=int),
        "seed": component_spec.ExecutionParameter(type=int),
        "translate_batch_size": component_spec.ExecutionParameter(type=int),
        "checkpoints_dir": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS: ClassVar = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
    }


class CycleGANTrainer(base_component.BaseComponent):
    """Trains one model of translators on the `train` split, for all classes together or for one of them.

    `outputs["model"]` holds the translators (see `export_translators`), `outputs["model_run"]` the curves, the
    diagnoses and the sample sheets.
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
        augmenter_batch_size: int,
        checkpoints_dir: str,
        label: int | None = None,
    ):
        """Wires the node.

        Args:
            examples: Examples with the records of `model_patching.data.schema`.
            settings: networks, losses and steps.
            dataset: classes, subgroups and image shape.
            tracking: where curves and sheets go.
            seed: fixes the result on a CPU.
            augmenter_batch_size: images that the Augmenter will translate together. Translators that normalize over
                the batch are diagnosed with as many; to others it makes no difference, and they stay in the cache when
                it changes.
            checkpoints_dir: folder for this node's checkpoints while it trains, outside of its outputs, which TFX
                removes when the node is stopped.
            label: the class to learn from; None for all together.
        """
        super().__init__(
            spec=CycleGANTrainerSpec(
                examples=examples,
                settings=settings.model_dump_json(),
                dataset=dataset.model_dump_json(),
                tracking=tracking.model_dump_json(),
                label=-1 if label is None else label,  # TFX has no null
                seed=seed,
                translate_batch_size=augmenter_batch_size
                if settings.normalizes_over_batch
                else ANY_BATCH_SIZE,
                checkpoints_dir=checkpoints_dir,
                code_hash=code_hash("cyclegan_trainer"),
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            )
        )
