"""Runs a compiled pipeline on this machine, node after node, and says how each went."""

import json
import os
import time
from pathlib import Path
from typing import Any

from absl import logging
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable.launcher import Launcher
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter
from tfx.proto.orchestration import pipeline_pb2

from model_patching.components.subgroup_report.text import seconds as seconds_text
from model_patching.data import mnist_correlation
from model_patching.pipelines.config import CONVERSION_SEED, PipelineConfig
from model_patching.pipelines.console import say, working_on
from model_patching.pipelines.errors import NodeFailed, behind_clean_up, one_paragraph

_CACHED, _FAILED = metadata_store_pb2.Execution.CACHED, metadata_store_pb2.Execution.FAILED


class LocalRunner(LocalDagRunner):
    """TFX's LocalDagRunner with a line for each node, a file of their times, and errors in one paragraph.

    It overrides `run_with_ir`, as `tfx pipeline create` puts a function of its own in place of `LocalDagRunner.run` to
    get at the pipeline without running it.
    """

    def __init__(self, config: PipelineConfig, run_id: str):
        """Prepares a run.

        Args:
            config: what the pipeline was made from; says where data and times go.
            run_id: names the run in ML Metadata.
        """
        super().__init__()
        self._config = config
        self._run_id = run_id

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> str:
        """Builds the data where that is asked for, and runs every node.

        Leaves `<timings_dir>/<run_id>.json`: {node: {"seconds": …, "cached": …}}, rewritten after every node, so that a
        node can read the times of those before it.

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
        self._build_data()
        substitute_runtime_parameter(pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self._run_id})
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        store_config = deployment.metadata_connection_config
        connection = getattr(store_config, store_config.WhichOneof("connection_config"))
        timings: dict[str, dict[str, Any]] = {}
        for node in pipeline.nodes:
            self._run_node(pipeline, node.pipeline_node, deployment, connection, timings)
        return self._run_id

    def _build_data(self) -> None:
        """Makes the records, where the configuration asks for that."""
        data = self._config.data
        if data.mnist_correlation is not None:
            name, build = "MNIST-Correlation", self._build_mnist_correlation
        elif data.features is not None:
            name, build = data.name, self._convert_records
        else:
            return
        started = time.monotonic()
        folder = Path(self._config.records_dir)
        was_there = folder.exists()
        try:
            with working_on(name):
                skipped = build(folder)
        except Exception as error:
            raise NodeFailed(f"building {name}", one_paragraph(error)) from error
        if was_there:
            return
        say(f"✓ {name}  {seconds_text(time.monotonic() - started)}")
        for record in skipped:
            say(f"  skipped {record['place']}: {record['reason']}")

    def _build_mnist_correlation(self, folder: Path) -> list[dict[str, str]]:
        mnist_correlation.build(self._config.data.mnist_correlation, self._config.seed, folder)
        return []

    def _convert_records(self, folder: Path) -> list[dict[str, str]]:
        """Returns the records that were left out."""
        from model_patching.data.convert import convert  # here and not above: few pipelines need it

        manifest = convert(
            self._config.data.source,
            folder,
            CONVERSION_SEED,
            image=self._config.data.image,
            skip_bad=self._config.data.skip_bad,
            beam_pipeline_args=self._config.beam_pipeline_args,
        )
        return manifest["skipped"]

    def _run_node(
        self,
        pipeline: pipeline_pb2.Pipeline,
        node: pipeline_pb2.PipelineNode,
        deployment: Any,
        connection: Any,
        timings: dict[str, dict[str, Any]],
    ) -> None:
        """Runs a node, prints its line, adds it to `timings` and writes them."""
        name = node.node_info.id
        logging.info("========== %s ==========", name)
        started = time.monotonic()
        try:
            launcher = Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=pipeline.pipeline_info,
                pipeline_runtime_spec=pipeline.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            )
            with working_on(name):
                execution = launcher.launch()
        except Exception as error:
            logging.exception("%s failed", name)
            raise NodeFailed(name, one_paragraph(behind_clean_up(error))) from error
        seconds = time.monotonic() - started
        state = _state(connection, execution)
        if state == _FAILED:
            # TFX raises nothing when it can't resolve a node's inputs.
            raise NodeFailed(name, "its inputs can't be found in ML Metadata")
        if state is None:
            say(f"• {name}  skipped")
        elif state == _CACHED:
            say(f"• {name}  cached")
        else:
            say(f"✓ {name}  {seconds_text(seconds)}")
        timings[name] = {"seconds": round(seconds, 3), "cached": state == _CACHED}
        _write_whole(
            Path(self._config.timings_dir) / f"{self._run_id}.json", json.dumps(timings, indent=2) + "\n"
        )


def _state(connection: Any, execution: Any) -> int | None:
    """How ML Metadata has recorded an execution; None if there was none."""
    if execution is None or execution.execution_id is None:
        return None
    with metadata.Metadata(connection) as handle:
        (recorded,) = handle.store.get_executions_by_id([execution.execution_id])
    return recorded.last_known_state


def _write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(text)
    os.replace(partial, path)
