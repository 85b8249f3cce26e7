"""The compiled pipeline (TFX's intermediate representation) in the file by which a run's steps share it.

The wiring isn't imported here: it loads the code of all nodes, and a step runs one.
"""

import tensorflow as tf
from google.protobuf import json_format
from tfx.dsl.compiler import constants
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter
from tfx.proto.orchestration import pipeline_pb2


def to_json(pipeline: pipeline_pb2.Pipeline) -> str:
    """The file's content; equal pipelines give equal texts."""
    return json_format.MessageToJson(pipeline, sort_keys=True)


def read_ir(path: str, run_id: str) -> pipeline_pb2.Pipeline:
    """Reads what `to_json` made, local or remote, and fills in the run's id."""
    with tf.io.gfile.GFile(path) as stream:
        pipeline = json_format.Parse(stream.read(), pipeline_pb2.Pipeline())
    substitute_runtime_parameter(pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    return pipeline


def graph(pipeline: pipeline_pb2.Pipeline) -> dict[str, list[str]]:
    """For each node by its id, in an order in which they can run: the nodes that it waits for, sorted."""
    nodes = [node.pipeline_node for node in pipeline.nodes]
    return {node.node_info.id: sorted(node.upstream_nodes) for node in nodes}
