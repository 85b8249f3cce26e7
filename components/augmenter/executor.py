"""Runs the Augmenter's Beam pipeline on TFX artifacts."""

from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from model_patching.components.augmenter.augment import PatchSplit
from model_patching.components.augmenter.load_translator import TranslatorError
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.thresholds import TranslationThresholds, check_thresholds
from model_patching.components.augmenter.translators import SharedTranslators, diagnoses, plan_translators
from model_patching.components.numbered_inputs import numbered
from model_patching.data.beam_buffers import turn_off_timed_flush
from model_patching.data.beam_errors import plain_error
from model_patching.data.dataset import Dataset
from model_patching.data.schema import RecordError

TFRECORDS = "tfrecords_gzip"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of `Augmenter`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits of `source_examples`, patched or copied; see `write_patched`.

        Args:
            input_dict: `source_examples`, `model_0`, `model_1`, …: one artifact each, models of translators.
            output_dict: `examples`, one artifact.
            exec_properties: JSON of the `settings`, the `thresholds` and the `dataset`.

        Raises:
            RecordError: a record or image is damaged; the message is one line and names file and record.
            TranslatorError: the models don't serve each class once, or can't be loaded.
            TranslationRefused: a translator doesn't reach a threshold.
            ValueError: the artifacts don't have a split that the settings name, or are of another format.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        settings = AugmenterSettings.model_validate_json(exec_properties["settings"])
        dataset = Dataset.model_validate_json(exec_properties["dataset"])
        thresholds = TranslationThresholds.model_validate_json(exec_properties["thresholds"])
        examples = artifact_utils.get_single_instance(input_dict["source_examples"])
        check_examples(examples, settings.splits)
        models = [model.uri for model in numbered(input_dict, "model")]
        translators = SharedTranslators(plan_translators(models, dataset), dataset, settings)
        if thresholds != TranslationThresholds():
            check_thresholds(diagnoses(models), thresholds)

        def patch(split: str, files: list[str], folder: str, scratch: str) -> PatchSplit:
            return PatchSplit(files, folder, scratch, translators, dataset, settings)

        write_patched(
            examples,
            artifact_utils.get_single_instance(output_dict["examples"]),
            settings.splits,
            patch,
            self._make_beam_pipeline,
            (RecordError, TranslatorError),
        )


def check_examples(examples: types.Artifact, splits: Sequence[str]) -> None:
    """Refuses examples of another format, and those that lack a split that is to be patched.

    Raises:
        ValueError: see above.
    """
    if examples_utils.get_payload_format(examples) != example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE:
        raise ValueError(f"{examples.uri}: the examples must be tf.train.Example records")
    if examples_utils.get_file_format(examples) != TFRECORDS:
        raise ValueError(f"{examples.uri}: the files must be gzip TFRecords ('{TFRECORDS}')")
    found = artifact_utils.decode_split_names(examples.split_names)
    missing = [split for split in splits if split not in found]
    if missing:
        raise ValueError(
            f"augmentation.splits: the examples have no split '{missing[0]}', only {', '.join(found)}"
        )


def write_patched(
    examples: types.Artifact,
    output: types.Artifact,
    patched_splits: Sequence[str],
    patch: Callable[[str, list[str], str, str], beam.PTransform],
    make_pipeline: Callable[[], beam.Pipeline],
    errors: tuple[type[Exception], ...],
) -> None:
    """Writes the splits of examples, patched or copied.

    Everything is written to a hidden folder of the output first, whose splits take their names when all is done:
    what a failed or killed run leaves has no split.

    Args:
        examples: the source.
        output: where to.
        patched_splits: splits to patch; the others are copied.
        patch: from a split, its files, an existing folder for the new files and one for scratch files to the transform
            that writes the new files.
        make_pipeline: makes the Beam pipeline.
        errors: with messages of one line that `patch` and its transform raise.

    Raises:
        Exception: of one of the kinds in `errors`, or a RuntimeError when a worker of Beam has died.
    """
    splits = artifact_utils.decode_split_names(examples.split_names)
    partial = f"{output.uri}/.partial"
    if tf.io.gfile.exists(partial):
        tf.io.gfile.rmtree(partial)
    scratch = f"{partial}/scratch"
    tf.io.gfile.makedirs(scratch)
    turn_off_timed_flush()
    try:
        with make_pipeline() as pipeline:
            for split in splits:
                files = _split_files(examples, split)
                folder = f"{partial}/{split}"
                tf.io.gfile.makedirs(folder)
                if split in patched_splits:
                    _ = pipeline | f"Patch[{split}]" >> patch(split, files, folder, scratch)
                else:
                    for file in files:
                        tf.io.gfile.copy(file, f"{folder}/{file.rsplit('/', 1)[-1]}")
        output.split_names = artifact_utils.encode_split_names(splits)
        for split in splits:
            tf.io.gfile.rename(f"{partial}/{split}", artifact_utils.get_split_uri([output], split))
    except Exception as error:
        plain = plain_error(error, errors)
        if plain is None:
            raise
        if isinstance(plain, RuntimeError):
            plain = RuntimeError(
                f"{plain}: take fewer with --direct_num_workers, or smaller augmentation.records_per_shard or"
                " batch_size"
            )
        raise plain from error
    finally:
        tf.io.gfile.rmtree(partial)

    examples_utils.set_payload_format(output, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(output, TFRECORDS)


def _split_files(examples: types.Artifact, split: str) -> list[str]:
    """Files of a split, sorted."""
    folder = artifact_utils.get_split_uri([examples], split)
    files = sorted(tf.io.gfile.glob(f"{folder}/*"))
    if not files:
        raise RecordError(f"{folder}: split '{split}' has no files")
    return files
