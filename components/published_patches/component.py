"""PublishedPatches as a TFX component."""

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from model_patching.components.code_hash import code_hash
from model_patching.components.published_patches import executor
from model_patching.components.published_patches.folders import folder_marks
from model_patching.components.published_patches.settings import PatchingSettings
from model_patching.data.dataset import Dataset


class PublishedPatchesSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties of `PublishedPatches`."""

    PARAMETERS = {
        "settings": component_spec.ExecutionParameter(type=str),
        "dataset": component_spec.ExecutionParameter(type=str),
        "splits": component_spec.ExecutionParameter(type=str),
        "records_per_shard": component_spec.ExecutionParameter(type=int),
        "source_order": component_spec.ExecutionParameter(type=str),
        "files": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {"source_examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}


class PublishedPatches(base_beam_component.BaseBeamComponent):
    """Writes the examples again, with the published patched images, in place of CycleGANTrainer and Augmenter.

    `outputs["examples"]` has all splits of the input; the records of `splits` carry `patched_images`.
    """

    SPEC_CLASS = PublishedPatchesSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        settings: PatchingSettings,
        splits: Sequence[str],
        records_per_shard: int,
        source_order: str,
        dataset: Dataset,
    ):
        """Wires the component.

        Args:
            examples: Examples with the records of `model_patching.data.schema`.
            settings: where the patched images are.
            splits: those that get patched images, as far as they were published; the others are copied.
            records_per_shard: records of an output file, at most.
            source_order: the file that was built with the records.
            dataset: classes, subgroups and image shape.

        Raises:
            PatchesError: the published folder or the file isn't there.
        """
        super().__init__(
            PublishedPatchesSpec(
                source_examples=examples,
                settings=settings.model_dump_json(),
                dataset=dataset.model_dump_json(),
                splits=json.dumps(list(splits)),
                records_per_shard=records_per_shard,
                source_order=source_order,
                # Other files at the same paths are other images; their content would take too long to read.
                files=folder_marks(str(settings.folder), source_order),
                code_hash=code_hash("published_patches"),
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
