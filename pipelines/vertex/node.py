"""A task of Vertex AI that is one node of the pipeline.

    python -m model_patching.pipelines.vertex.node --pipeline NAME --run-id ID --node ID
        --executor_class_path … --json_serialized_invocation_args … --json_serialized_inputs_spec_args … [--BEAM…]

The arguments with underscores are those that KubeflowV2DagRunner writes for TFX's own entry point,
`tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor`. This one, made of the same parts of TFX, does more:
it knows this project's types of artifacts, tells the executor the names of pipeline and run, as TFX's other runners do,
removes what a failed try has left in the outputs, and ends as the steps on Kubeflow do (`step.py`).

Exit codes: 0 done, 1 the node has failed.
"""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_patching.pipelines.errors import NodeFailed, one_paragraph
from model_patching.pipelines.step import run_step

if TYPE_CHECKING:
    from kfp.pipeline_spec import pipeline_spec_pb2


def execute(
    pipeline: str,
    run_id: str,
    executor_class: str,
    invocation: "pipeline_spec_pb2.ExecutorInput",
    inputs_spec: "pipeline_spec_pb2.ComponentInputsSpec",
    beam_pipeline_args: Sequence[str],
) -> None:
    """Runs a node's executor, and writes what it says of its outputs to where Vertex reads it.

    Args:
        pipeline, run_id: names of the pipeline and of the run.
        executor_class: path of the class.
        invocation: the task's inputs, outputs and parameters.
        inputs_spec: types of the parameters.
        beam_pipeline_args: options of Apache Beam.
    """
    import tensorflow as tf
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.components.evaluator import executor as evaluator
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.dsl.components.base.base_executor import BaseExecutor
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as entrypoint
    from tfx.orchestration.portable import outputs_utils
    from tfx.proto.orchestration import pipeline_pb2
    from tfx.types import standard_component_specs
    from tfx.utils import import_utils

    from model_patching.data.beam_buffers import turn_off_timed_flush
    from model_patching.pipelines.vertex.artifact_types import register_artifact_types

    register_artifact_types()
    turn_off_timed_flush()
    output_file = invocation.outputs.output_file
    # ExampleGen's driver, which has run before, writes its parameters there.
    if tf.io.gfile.exists(output_file):
        with tf.io.gfile.GFile(output_file) as stream:
            text = stream.read()
        driven = json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput(), ignore_unknown_fields=True)
        for name, value in driven.parameter_values.items():
            invocation.inputs.parameter_values[name].CopyFrom(value)

    names: dict[int, str] = {}  # of artifacts on Vertex, by the numbers that TFX wants in their place
    inputs = entrypoint.parse_raw_artifact_dict(invocation.inputs.artifacts, names)
    outputs = entrypoint.parse_raw_artifact_dict(invocation.outputs.artifacts, names)
    for artifacts in outputs.values():
        for artifact in artifacts:
            if tf.io.gfile.exists(artifact.uri):
                tf.io.gfile.rmtree(artifact.uri)
            tf.io.gfile.makedirs(artifact.uri)

    executor = import_utils.import_class_by_path(executor_class)
    task_folder = output_file.rpartition("/")[0]
    context = {
        "tmp_dir": f"{task_folder}/.temp",
        "unique_id": task_folder.rpartition("/")[2],
        "pipeline_info": pipeline_pb2.PipelineInfo(id=pipeline),
        "pipeline_run_id": run_id,
    }
    if issubclass(executor, BaseBeamExecutor):
        context = BaseBeamExecutor.Context(beam_pipeline_args=list(beam_pipeline_args), **context)
    else:
        context = BaseExecutor.Context(extra_flags=list(beam_pipeline_args), **context)
    parameters = entrypoint.parse_execution_properties(
        invocation.inputs.parameter_values, invocation.inputs.parameters, inputs_spec
    )
    executor(context).Do(inputs, outputs, parameters)

    outputs_utils.tag_output_artifacts_with_version(outputs)
    if issubclass(executor, evaluator.Executor) and standard_component_specs.BLESSING_KEY in outputs:
        # The Resolver of a later run finds the blessed model by its name.
        (blessing,) = outputs[standard_component_specs.BLESSING_KEY]
        entrypoint.refactor_model_blessing(blessing, names)
    said = pipeline_spec_pb2.ExecutorOutput()
    for key, artifacts in entrypoint.translate_executor_output(outputs, names).items():
        said.artifacts[key].CopyFrom(artifacts)
    with tf.io.gfile.GFile(output_file, "w") as stream:
        stream.write(json_format.MessageToJson(said))


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the arguments and runs the node; the exit code is 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--pipeline", required=True, help="name of the pipeline")
    parser.add_argument("--run-id", required=True, help="id of the run")
    parser.add_argument("--node", required=True, help="id of the node")
    parser.add_argument("--executor_class_path", required=True, help="the executor's class")
    parser.add_argument("--json_serialized_invocation_args", required=True, help="ExecutorInput, as JSON")
    parser.add_argument(
        "--json_serialized_inputs_spec_args", required=True, help="ComponentInputsSpec, as JSON"
    )
    given, beam_pipeline_args = parser.parse_known_args(arguments)
    os.environ["WANDB_RUN_GROUP"] = given.run_id

    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    invocation, inputs_spec = (
        json_format.Parse(text, message, ignore_unknown_fields=True)
        for text, message in (
            (given.json_serialized_invocation_args, pipeline_spec_pb2.ExecutorInput()),
            (given.json_serialized_inputs_spec_args, pipeline_spec_pb2.ComponentInputsSpec()),
        )
    )
    try:
        execute(
            given.pipeline,
            given.run_id,
            given.executor_class_path,
            invocation,
            inputs_spec,
            beam_pipeline_args,
        )
    except Exception as error:
        raise NodeFailed(given.node, one_paragraph(error)) from error
    return 0


if __name__ == "__main__":
    run_step(main)
