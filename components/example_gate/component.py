"""The ExampleGate as a TFX component."""

import json
from collections.abc import Sequence
from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from model_patching.components.code_hash import code_hash
from model_patching.components.example_gate import executor
from model_patching.components.example_gate.settings import ExampleGateSettings
from model_patching.data.dataset import Dataset


class GroupCountsArtifact(types.Artifact):
    """A folder with `group_counts.json`: {split: [C][K]}, the examples of each group."""

    TYPE_NAME = "model_patching.GroupCounts"


class ExampleGateSpec(component_spec.ComponentSpec):
    """Inputs, output and exec properties of the ExampleGate."""

    PARAMETERS: ClassVar = {
        "settings": component_spec.ExecutionParameter(type=str),
        "dataset": component_spec.ExecutionParameter(type=str),
        "slices": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }
    OUTPUTS: ClassVar = {"group_counts": component_spec.ChannelParameter(type=GroupCountsArtifact)}


class ExampleGate(base_component.BaseComponent):
    """Stops the pipeline where its examples can't be trained on: what trains on them waits for this node.

    `outputs["group_counts"]` holds the examples of each group.
    """

    SPEC_CLASS = ExampleGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        anomalies: types.BaseChannel,
        settings: ExampleGateSettings,
        dataset: Dataset,
        slices: Sequence[Sequence[str]] = (),
    ):
        """Wires the component.

        Args:
            examples: Examples with the records of `model_patching.data.schema`.
            anomalies: what ExampleValidator says of them.
            settings: how many examples each group must have.
            dataset: classes, subgroups and image shape.
            slices: features that the evaluation slices by; the test split must have them.
        """
        super().__init__(
            spec=ExampleGateSpec(
                examples=examples,
                anomalies=anomalies,
                settings=settings.model_dump_json(),
                dataset=dataset.model_dump_json(),
                slices=json.dumps(slices),
                code_hash=code_hash("example_gate"),
                group_counts=types.Channel(type=GroupCountsArtifact),
            )
        )
