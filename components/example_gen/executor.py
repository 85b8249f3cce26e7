"""Runs the ExampleGen's Beam pipeline and describes its result to TFX."""

from typing import Any

import tensorflow as tf
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from model_patching.components.example_gen.copy_records import Copy, CopyRecords
from model_patching.data.beam_buffers import turn_off_timed_flush
from model_patching.data.beam_errors import plain_error
from model_patching.data.source import SourceError

TFRECORDS = "tfrecords_gzip"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of `ExampleGen`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copies every file of every split, under its own name.

        Everything is written to a hidden folder of the output first, whose splits take their names when all is done:
        what a failed or killed run leaves has no split.

        Args:
            input_dict: empty.
            output_dict: `examples`, one artifact.
            exec_properties: `input_base`, the folder; `input_config`, its splits, as JSON.

        Raises:
            SourceError: a split has no files, or a file is damaged; the message is one line and names file and record.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        folder = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        config = example_gen_pb2.Input()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], config)
        output = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])

        files = {split.name: _files(f"{folder}/{split.pattern}") for split in config.splits}
        partial = f"{output.uri}/.partial"
        if tf.io.gfile.exists(partial):
            tf.io.gfile.rmtree(partial)
        scratch = f"{partial}/scratch"
        tf.io.gfile.makedirs(scratch)
        copies = []
        for split, of_split in files.items():
            tf.io.gfile.makedirs(f"{partial}/{split}")
            copies += [Copy(file, f"{partial}/{split}/{file.rsplit('/', 1)[-1]}") for file in of_split]
        turn_off_timed_flush()
        try:
            with self._make_beam_pipeline() as pipeline:
                _ = pipeline | CopyRecords(copies, scratch)
            output.split_names = artifact_utils.encode_split_names(list(files))
            for split in files:
                tf.io.gfile.rename(f"{partial}/{split}", artifact_utils.get_split_uri([output], split))
        except Exception as error:
            plain = plain_error(error, (SourceError,))
            if plain is None:
                raise
            raise plain from error
        finally:
            tf.io.gfile.rmtree(partial)

        examples_utils.set_payload_format(output, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(output, TFRECORDS)


def _files(pattern: str) -> list[str]:
    """Files of a split, sorted."""
    files = sorted(tf.io.gfile.glob(pattern))
    if not files:
        raise SourceError(f"{pattern}: there are no such files")
    return files
