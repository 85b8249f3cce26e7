"""Writes the schema of the records as TFX's SchemaGen writes one."""

from typing import Any

from tfx import types
from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.components.statistics_gen.stats_artifact_utils import load_statistics
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from model_patching.components.record_schema.schema import record_schema
from model_patching.data.dataset import Dataset


class Executor(base_executor.BaseExecutor):
    """Executor of `RecordSchema`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `schema.pbtxt`.

        Args:
            input_dict: `statistics`, one artifact.
            output_dict: `schema`, one artifact.
            exec_properties: `dataset` as JSON, and `code_hash`.
        """
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        schema = record_schema(
            Dataset.model_validate_json(exec_properties["dataset"]),
            (
                load_statistics(statistics, split).proto()
                for split in artifact_utils.decode_split_names(statistics.split_names)
            ),
        )
        output = artifact_utils.get_single_uri(output_dict["schema"])
        io_utils.write_pbtxt_file(f"{output}/{DEFAULT_FILE_NAME}", schema)
