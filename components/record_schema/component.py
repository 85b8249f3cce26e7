"""The schema of the records as a TFX component."""

from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from model_patching.components.code_hash import code_hash
from model_patching.components.record_schema import executor
from model_patching.data.dataset import Dataset


class RecordSchemaSpec(component_spec.ComponentSpec):
    """Input, output and exec properties of `RecordSchema`."""

    PARAMETERS: ClassVar = {
        "dataset": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics)
    }
    OUTPUTS: ClassVar = {"schema": component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class RecordSchema(base_component.BaseComponent):
    """Writes the schema that the records of a data set must have, in place of one that SchemaGen infers from them.

    A schema that is inferred takes every label that is there for a right one.
    """

    SPEC_CLASS = RecordSchemaSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, statistics: types.BaseChannel, dataset: Dataset):
        """Wires the component.

        Args:
            statistics: of the records; say which features they have beside those of `model_patching.data.schema`.
            dataset: classes and subgroups.
        """
        super().__init__(
            spec=RecordSchemaSpec(
                statistics=statistics,
                dataset=dataset.model_dump_json(),
                code_hash=code_hash("record_schema"),
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )
