"""The ExampleGen as a TFX component."""

from google.protobuf.struct_pb2 import Struct
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from model_patching.components.code_hash import code_hash
from model_patching.components.example_gen import executor
from model_patching.data.dataset import SPLITS


class ExampleGen(FileBasedExampleGen):
    """Takes the records of a folder into the pipeline, after it has read all of them to their end.

    TFX's driver notices changed files. TFX's own ImportExampleGen takes a file that was cut off between two records for
    a whole one, and gives records another order in every run.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, records_dir: str):
        """Wires the component.

        Args:
            records_dir: has a folder for each split with gzip TFRecords, `<split>/*.tfrecord.gz`; local or remote.
        """
        splits = [
            example_gen_pb2.Input.Split(name=split, pattern=f"{split}/*.tfrecord.gz") for split in SPLITS
        ]
        # The place that TFX's own parameters of an ExampleGen leave for it.
        custom_config = example_gen_pb2.CustomConfig()
        hashed = Struct()
        hashed["code_hash"] = code_hash("example_gen")
        custom_config.custom_config.Pack(hashed)
        super().__init__(
            input_base=records_dir,
            input_config=example_gen_pb2.Input(splits=splits),
            custom_config=custom_config,
        )
