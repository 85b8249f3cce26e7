"""Checks TFX's examples and lets nothing train on bad ones."""

import json
from typing import Any

import tensorflow as tf
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from model_patching.components.example_gate.check import ExamplesRefused, check_split
from model_patching.components.example_gate.settings import ExampleGateSettings
from model_patching.components.example_gate.slice_features import check_slice_features
from model_patching.data.dataset import SPLITS, Dataset

FILE = "group_counts.json"
EVALUATED_SPLIT = "test"


class Executor(base_executor.BaseExecutor):
    """Executor of `ExampleGate`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Checks every split and writes the examples of each group.

        Args:
            input_dict: `examples` and `anomalies`, one artifact each.
            output_dict: `group_counts`, one artifact.
            exec_properties: `settings`, `dataset` and `slices` as JSON, and `code_hash`.

        Raises:
            ExamplesRefused: there is an anomaly, a bad record, an id that comes twice, a group with too few examples,
                or a feature that the evaluation can't slice by.
        """
        settings = ExampleGateSettings.model_validate_json(exec_properties["settings"])
        dataset = Dataset.model_validate_json(exec_properties["dataset"])
        counts, mistakes = {}, []
        for split in SPLITS:
            folder = artifact_utils.get_split_uri(input_dict["anomalies"], split)
            anomalies = anomalies_pb2.Anomalies.FromString(
                io_utils.read_bytes_file(f"{folder}/{DEFAULT_FILE_NAME}")
            )
            paths = tf.io.gfile.glob(f"{artifact_utils.get_split_uri(input_dict['examples'], split)}/*")
            of_split, found = check_split(split, paths, anomalies, dataset, getattr(settings, split))
            mistakes += found
            if of_split is not None:
                counts[split] = of_split.tolist()
                if split == EVALUATED_SPLIT:
                    mistakes += check_slice_features(split, paths, json.loads(exec_properties["slices"]))
        if mistakes:
            raise ExamplesRefused(
                f"{'; '.join(mistakes)}: correct the records, data.dataset (what they hold), "
                "data.min_examples_per_group or evaluation.slices"
            )
        output = artifact_utils.get_single_uri(output_dict["group_counts"])
        with tf.io.gfile.GFile(f"{output}/{FILE}", "w") as file:
            file.write(json.dumps(counts, indent=2) + "\n")
