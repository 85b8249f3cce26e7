"""The Augmenter as a TFX component."""

from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from model_patching.components.augmenter import executor
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.code_hash import code_hash
from model_patching.components.numbered_inputs import number, with_numbered_inputs
from model_patching.data.dataset import Dataset


class AugmenterSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties of `Augmenter`, but for the models `model_0`, ….

    TFX wants different keys for the examples in and out.
    """

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "thresholds": component_spec.ExecutionParameter(type=str),
        "dataset": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"source_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class Augmenter(base_beam_component.BaseBeamComponent):
    """Writes the examples again, with a version of each image in every subgroup.

    Nothing in it is random, so it takes no seed. `outputs["examples"]` has all splits of the input; the records of the
    splits that the settings name carry `patched_images`.
    """

    SPEC_CLASS = AugmenterSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        models: Sequence[types.BaseChannel],
        settings: AugmenterSettings,
        thresholds: TranslationThresholds,
        dataset: Dataset,
    ):
        """Wires the component.

        Args:
            examples: Examples with the records of `model_patching.data.schema`.
            models: Models of translators, from one CycleGANTrainer or more; each class is served by exactly one model.
            settings: batch size, splits and storage.
            thresholds: what the translators must reach, or nothing is patched.
            dataset: classes, subgroups and image shape.
        """
        model = component_spec.ChannelParameter(type=standard_artifacts.Model)
        spec_class = with_numbered_inputs(AugmenterSpec, "model", model, len(models))
        super().__init__(
            spec_class(
                source_examples=examples,
                **number("model", models),
                settings=settings.model_dump_json(),
                thresholds=thresholds.model_dump_json(),
                dataset=dataset.model_dump_json(),
                code_hash=code_hash("augmenter"),
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
