"""A step that is one node of the pipeline.

    python -m model_patching.pipelines.kubeflow.node --ir FILE --node RobustTrainer --run-id ID --metadata URL

Kubernetes may start it again: after a failure, when its machine was taken away, or because somebody asked for the run
again. A node that this run has finished is not run again; of one that was killed, the half-written output is removed
first, and a training goes on from its checkpoint. An earlier attempt that still works, on a machine that Kubernetes has
lost, is waited for (`lease.py`), as is the same node of another run of the pipeline.

If ML Metadata is away when a node is done, it is waited for (`patient_metadata.py`).

Exit codes: 0 done, taken from the cache, or done before; 1 the node has failed; 2 ML Metadata can't be had.
"""

import argparse
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from model_patching.pipelines.console import say
from model_patching.pipelines.errors import NodeFailed
from model_patching.pipelines.exit_codes import FAILED
from model_patching.pipelines.kubeflow.lease import lease
from model_patching.pipelines.metadata_store import check_store
from model_patching.pipelines.step import end_step, run_step

if TYPE_CHECKING:
    from tfx.orchestration import metadata
    from tfx.proto.orchestration import pipeline_pb2


def launch(ir_path: str, node_id: str, run_id: str, store: str) -> None:
    """Runs a node, unless this run has it already.

    Args:
        ir_path: the compiled pipeline, written by `prepare`.
        node_id: one of its nodes.
        run_id: names the run in ML Metadata.
        store: URL of ML Metadata.

    Raises:
        StoreError: ML Metadata can't be had.
        NodeFailed: the node has failed.
        ValueError: the pipeline has no such node.
    """
    check_store(store)  # before TFX is loaded, which takes half a minute

    from model_patching.data.beam_buffers import turn_off_timed_flush
    from model_patching.pipelines.kubeflow.ir import graph, read_ir
    from model_patching.pipelines.kubeflow.patient_metadata import PatientMetadata
    from model_patching.pipelines.run_node import place, run_node

    os.environ["WANDB_RUN_GROUP"] = run_id
    turn_off_timed_flush()
    pipeline = read_ir(ir_path, run_id)
    nodes = {node.pipeline_node.node_info.id: node.pipeline_node for node in pipeline.nodes}
    if node_id not in nodes:
        raise ValueError(f"{ir_path} has no node {node_id}; it has {', '.join(graph(pipeline))}")
    root, _ = place(pipeline)
    metadata = PatientMetadata(store, node_id)
    with contextlib.nullcontext() if "://" in root else _turn(root, node_id):
        if was_done(pipeline, nodes[node_id], metadata):
            say(f"• {node_id}  done before in this run")
            return
        run_node(pipeline, nodes[node_id], metadata)


def _turn(root: str, node_id: str) -> contextlib.AbstractContextManager[None]:
    """Only one process at a time runs a node of this name: its checkpoints are shared by runs."""
    reason = f"✗ {node_id} failed: this process stood still, and another one has gone on in its place"
    return lease(Path(root) / "leases" / node_id, node_id, lambda: end_step(FAILED, reason))


def was_done(
    pipeline: "pipeline_pb2.Pipeline",
    node: "pipeline_pb2.PipelineNode",
    metadata: "metadata.Metadata",
) -> bool:
    """Whether the run has finished a node. Of an attempt that did not, removes what it left in the output folders.

    TFX takes the unfinished execution up again, and so its folders.

    Args:
        pipeline: compiled, its run's id filled in.
        node: one of its nodes.
        metadata: the store.

    Raises:
        StoreError: ML Metadata can't be had.
        NodeFailed: two attempts have begun at once. TFX takes none of two up, whatever their state, and ML Metadata
            can remove none; nor can one know without a lease which of the two still works.
    """
    import tensorflow as tf
    from tfx.orchestration.portable import outputs_utils
    from tfx.orchestration.portable.mlmd import context_lib, execution_lib

    with metadata as store:
        contexts = context_lib.prepare_contexts(store, node.contexts)
        executions = execution_lib.get_executions_associated_with_all_contexts(store, contexts)
    if any(execution_lib.is_execution_successful(execution) for execution in executions):
        return True
    name = node.node_info.id
    if len(executions) > 1:
        raise NodeFailed(
            name, "two attempts have begun at once; this run can't go on, start one with a new id"
        )
    resolver = outputs_utils.OutputsResolver(node, pipeline.pipeline_info, pipeline.runtime_spec)
    for execution in executions:
        say(f"• {name}  an earlier attempt has not finished, starting again")
        for artifacts in resolver.generate_output_artifacts(execution.id).values():
            for artifact in artifacts:
                if tf.io.gfile.exists(artifact.uri):
                    tf.io.gfile.rmtree(artifact.uri)
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the arguments and runs the node; the exit code is 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ir", required=True, help="file of the compiled pipeline, as JSON")
    parser.add_argument("--node", required=True, help="id of the node")
    parser.add_argument("--run-id", required=True, help="id of the run")
    parser.add_argument("--metadata", required=True, help="URL of the ML Metadata store")
    given = parser.parse_args(arguments)
    launch(given.ir, given.node, given.run_id, given.metadata)
    return 0


if __name__ == "__main__":
    run_step(main)
