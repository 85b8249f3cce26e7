"""Runs the Beam pipeline of PublishedPatches on TFX artifacts."""

import json
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from model_patching.components.augmenter.executor import check_examples, write_patched
from model_patching.components.published_patches.attach import AttachPatches, source_counts
from model_patching.components.published_patches.folders import PatchesError, in_words, incomplete_groups
from model_patching.components.published_patches.settings import PatchingSettings
from model_patching.data.dataset import Dataset
from model_patching.data.schema import RecordError
from model_patching.data.source import SourceError
from model_patching.data.source_order import SourceOrder, read_source_order


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of `PublishedPatches`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits of `source_examples`, patched or copied; see `write_patched`.

        A split other than that of the training is copied, unless all of its records were patched: the model is chosen
        and measured on all of them.

        Args:
            input_dict: `source_examples`, one artifact.
            output_dict: `examples`, one artifact.
            exec_properties: JSON of the `settings`, the `dataset` and the `splits` to patch; `source_order`, the path
                of the file that came with the records; `records_per_shard`.

        Raises:
            RecordError, SourceError, PatchesError: see `AttachPatches`; the message is one line.
            SourceOrderError: the order of the records isn't known.
            ValueError: the artifact doesn't have a split that is to be patched, or is of another format.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = PatchingSettings.model_validate_json(exec_properties["settings"])
        dataset = Dataset.model_validate_json(exec_properties["dataset"])
        splits = json.loads(exec_properties["splits"])
        examples = artifact_utils.get_single_instance(input_dict["source_examples"])
        check_examples(examples, splits)
        order = read_source_order(exec_properties["source_order"])
        splits = [
            split for split in splits if split == "train" or _is_complete(split, settings, order, dataset)
        ]

        def attach(split: str, files: list[str], folder: str, scratch: str) -> AttachPatches:
            places_per_file = exec_properties["records_per_shard"]
            return AttachPatches(files, folder, scratch, split, order, dataset, settings, places_per_file)

        write_patched(
            examples,
            artifact_utils.get_single_instance(output_dict["examples"]),
            splits,
            attach,
            self._make_beam_pipeline,
            (PatchesError, RecordError, SourceError),
        )


def _is_complete(split: str, settings: PatchingSettings, order: SourceOrder, dataset: Dataset) -> bool:
    """Whether all records of a split were patched; where they weren't, says of which group."""
    counts = source_counts(order, split, dataset)
    groups = incomplete_groups(str(settings.folder), split, counts)
    if groups:
        logging.info(
            "%s: not all records of %s have patched images; that split is copied",
            settings.folder,
            in_words(groups[0], split, dataset),
        )
    return bool(counts) and not groups
