"""Runs one node of a compiled pipeline and says how it went, wherever the node runs."""

import json
import time
from typing import Any

import tensorflow as tf
from absl import logging
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable.launcher import Launcher
from tfx.proto.orchestration import pipeline_pb2

from model_patching.components.subgroup_report.text import seconds as seconds_text
from model_patching.pipelines.config import NODES
from model_patching.pipelines.console import say, working_on
from model_patching.pipelines.errors import NodeFailed, behind_clean_up, one_paragraph
from model_patching.pipelines.execution_artifacts import execution_artifacts
from model_patching.pipelines.metadata_store import StoreError

_CACHED, _FAILED = metadata_store_pb2.Execution.CACHED, metadata_store_pb2.Execution.FAILED


def run_node(
    pipeline: pipeline_pb2.Pipeline,
    node: pipeline_pb2.PipelineNode,
    store: metadata.Metadata,
) -> None:
    """Runs a node through TFX, or takes it from TFX's cache, and prints its line.

    Leaves `<pipeline root>/nodes/<run id>/<node>.json`: {"seconds": …, "cached": …, "ended": seconds since 1970,
    "inputs": …, "outputs": …}, the artifacts as `execution_artifacts` gives them, for the nodes after it to read: they
    have no connection to ML Metadata themselves. A file for each node: nodes may run at once and on several machines.
    None for a node that TFX skips, as one whose condition doesn't hold.

    Args:
        pipeline: compiled, its run's id filled in.
        node: one of its nodes.
        store: ML Metadata, closed; it is opened whenever it is needed.

    Raises:
        NodeFailed: the node has failed.
        StoreError: ML Metadata can't be had.
    """
    name = node.node_info.id
    logging.info("========== %s ==========", name)
    deployment = runner_utils.extract_local_deployment_config(pipeline)
    started = time.monotonic()
    try:
        launcher = Launcher(
            pipeline_node=node,
            mlmd_connection=store,
            pipeline_info=pipeline.pipeline_info,
            pipeline_runtime_spec=pipeline.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, name),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
        )
        with working_on(name):
            execution = launcher.launch()
    except Exception as error:
        reason = behind_clean_up(error)
        logging.error("%s failed", name, exc_info=reason)
        if isinstance(reason, StoreError):
            raise
        raise NodeFailed(name, one_paragraph(reason)) from error
    seconds = time.monotonic() - started
    root, run_id = place(pipeline)
    state, artifacts = _recorded(store, None if execution is None else execution.execution_id, root)
    if state == _FAILED:
        # TFX raises nothing when it can't resolve a node's inputs.
        raise NodeFailed(name, "its inputs can't be found in ML Metadata")
    if state is None:
        say(f"• {name}  skipped")
        return
    if state == _CACHED:
        say(f"• {name}  cached")
    else:
        say(f"✓ {name}  {seconds_text(seconds)}")
    entry = {
        "seconds": round(seconds, 3),
        "cached": state == _CACHED,
        "ended": round(time.time(), 3),
        **artifacts,
    }
    write_whole(f"{root}/{NODES}/{run_id}/{name}.json", json.dumps(entry, indent=2) + "\n")


def write_whole(path: str, text: str) -> None:
    """Writes a local or remote file whole or not at all."""
    tf.io.gfile.makedirs(path.rsplit("/", 1)[0])
    with tf.io.gfile.GFile(f"{path}.part", "w") as stream:
        stream.write(text)
    tf.io.gfile.rename(f"{path}.part", path, overwrite=True)


def place(pipeline: pipeline_pb2.Pipeline) -> tuple[str, str]:
    """A pipeline's root and the run's id."""
    spec = pipeline.runtime_spec
    return tuple(value.field_value.string_value for value in (spec.pipeline_root, spec.pipeline_run_id))


def _recorded(
    store: metadata.Metadata, execution_id: int | None, pipeline_root: str
) -> tuple[int | None, dict[str, list[dict[str, Any]]]]:
    """What ML Metadata says of an execution: its state, None if there was none, and its artifacts."""
    if execution_id is None:
        return None, {"inputs": [], "outputs": []}
    with store as handle:
        (recorded,) = handle.store.get_executions_by_id([execution_id])
        return recorded.last_known_state, execution_artifacts(handle.store, execution_id, pipeline_root)
