"""Runs a compiled pipeline on this machine, node after node."""

from pathlib import Path

from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter
from tfx.proto.orchestration import pipeline_pb2

from model_patching.pipelines.build_records import build_records
from model_patching.pipelines.config import PipelineConfig
from model_patching.pipelines.run_node import run_node


class LocalRunner(LocalDagRunner):
    """TFX's LocalDagRunner with a line for each node, files of how they went, and errors in one paragraph.

    It overrides `run_with_ir`, as `tfx pipeline create` puts a function of its own in place of `LocalDagRunner.run` to
    get at the pipeline without running it.
    """

    def __init__(self, config: PipelineConfig, run_id: str):
        """Prepares a run.

        Args:
            config: what the pipeline was made from; says where the data go.
            run_id: names the run in ML Metadata.
        """
        super().__init__()
        self._config = config
        self._run_id = run_id

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> str:
        """Builds the data where that is asked for, and runs every node.

        Returns:
            The run's id.

        Raises:
            NodeFailed: a node has failed; the later ones didn't run.
            ValueError: there are run options. A partial run isn't needed: unchanged nodes come from the cache.
        """
        if run_options is not None:
            raise ValueError(
                "partial runs aren't offered: run the whole pipeline, unchanged nodes come from the cache"
            )
        build_records(self._config)
        substitute_runtime_parameter(pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self._run_id})
        Path(self._config.metadata_path).parent.mkdir(parents=True, exist_ok=True)
        store = runner_utils.extract_local_deployment_config(pipeline).metadata_connection_config
        handle = metadata.Metadata(getattr(store, store.WhichOneof("connection_config")))
        for node in pipeline.nodes:
            run_node(pipeline, node.pipeline_node, handle)
        return self._run_id
