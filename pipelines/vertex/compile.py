"""Compiles a configuration to a job of Vertex AI Pipelines, by TFX's KubeflowV2DagRunner.

Vertex keeps the metadata itself: there is no ML Metadata store of ours, and lineage and the cache are Vertex's.
"""

import json
import os
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.pipeline import Pipeline

from model_patching.components.published_patches.folders import PatchesError
from model_patching.pipelines.check_networks import check_networks
from model_patching.pipelines.config import ConfigError, PipelineConfig
from model_patching.pipelines.pipeline import create_pipeline
from model_patching.pipelines.vertex.settings import StepSettings, VertexSettings

LONGEST_NAME = 63  # of a pipeline, for TFX

# What Vertex fills in when it starts a task.
_RUN_ID, _NODE = "{{$.pipeline_job_name}}", "{{$.pipeline_task_name}}"


def compile_pipeline(config: PipelineConfig, settings: VertexSettings, output: Path) -> None:
    """Writes a PipelineJob as JSON, which `google.cloud.aiplatform.PipelineJob` takes as its template.

    Args:
        config: what the nodes are made from.
        settings: of Vertex.
        output: the file; it is written whole or not at all.

    Raises:
        ConfigError: the configuration can't be compiled for Vertex.
        OSError: the file can't be written.
    """
    _check_files(config)
    _check_trainings(config)
    # Vertex takes no underscores in the name.
    name = config.pipeline_name.replace("_", "-").strip("-")
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ConfigError(
            f"pipeline_name: {name or config.pipeline_name} must have 1 to {LONGEST_NAME} letters or digits"
        )
    config = config.model_copy(update={"pipeline_name": name, "root": settings.root.rstrip("/")})
    try:
        pipeline = create_pipeline(config)
    except PatchesError as error:
        raise ConfigError(f"patching.folder: {error}") from None
    _set_machines(pipeline, settings)
    command = ["python", "-m", "model_patching.pipelines.vertex.node"]
    runner_config = KubeflowV2DagRunnerConfig(
        default_image=settings.image,
        default_commands=[*command, "--pipeline", name, "--run-id", _RUN_ID, "--node", _NODE],
        use_pipeline_spec_2_1=True,
    )
    job = KubeflowV2DagRunner(runner_config).run(pipeline, write_out=False)
    _complete(job["pipelineSpec"], pipeline, settings)
    partial = output.with_name(f".{output.name}.part")
    try:
        partial.write_text(json.dumps(job, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _check_files(config: PipelineConfig) -> None:
    """Refuses what no task sees: folders of this machine, and weights that aren't in the image."""
    folders = {"data.records": config.data.records}
    if config.reads_published_patches:
        folders["patching.folder"] = config.patching.folder
    for key, folder in folders.items():
        if folder is None or not folder.startswith("gs://"):
            raise ConfigError(
                f"{key}: {folder or 'is missing'}: tasks on Vertex build no records and see buckets alone; give a "
                "folder in one, gs://…"
            )
    for key, training in (("training", config.training), ("baseline", config.baseline)):
        if training.weights not in ("none", "imagenet") and not training.weights.startswith("/"):
            raise ConfigError(
                f"{key}.weights: {training.weights}: tasks on Vertex see files of the image alone; give an absolute "
                "path in it, none or imagenet"
            )


def _check_trainings(config: PipelineConfig) -> None:
    """Builds the networks, which no task does before the translators are trained; files of weights are elsewhere."""
    trainings = {"training": config.training, "baseline": config.baseline}
    for key, training in trainings.items():
        if training.strategy == "multi_worker":
            raise ConfigError(
                f"{key}.strategy: multi_worker: a task on Vertex has one machine; mirrored takes its GPUs"
            )
    without = {key: training.model_copy(update={"weights": "none"}) for key, training in trainings.items()}
    try:
        check_networks(config.model_copy(update=without))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _set_machines(pipeline: Pipeline, settings: VertexSettings) -> None:
    components = _components(pipeline)
    names = [component.id for component in components]
    unknown = sorted(set(settings.nodes) - set(names))
    if unknown:
        raise ConfigError(
            f"vertex.nodes: {unknown[0]}: there is no such node with a machine; there are {', '.join(names)}"
        )
    for component in components:
        resources = _resources(settings.step(component.id))
        if resources.ByteSize():
            component.with_platform_config(resources)


def _resources(
    step: StepSettings,
) -> pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec:
    resources = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec(
        cpu_limit=step.cpu_limit, memory_limit=step.memory_limit
    )
    if step.accelerator is not None and step.accelerator_count != 0:
        resources.accelerator.type = step.accelerator
        resources.accelerator.count = step.accelerator_count or 1
    return resources


def _complete(specification: dict[str, Any], pipeline: Pipeline, settings: VertexSettings) -> None:
    """Adds what TFX's runner leaves out: retries, and the machine of the ExampleGen."""
    tasks = specification["root"]["dag"]["tasks"]
    executors = specification["deploymentSpec"]["executors"]
    for component in _components(pipeline):
        retries = settings.step(component.id).retries
        if retries is not None and retries.count:
            tasks[component.id]["retryPolicy"] = {
                "maxRetryCount": retries.count,
                "backoffDuration": f"{retries.backoff_seconds}s",
                "backoffFactor": retries.backoff_factor,
            }
        if component.platform_config is not None:
            label = specification["components"][component.id]["executorLabel"]
            executors[label]["container"]["resources"] = json_format.MessageToDict(component.platform_config)


def _components(pipeline: Pipeline) -> list[BaseComponent]:
    """The nodes that have a container: a Resolver is a query to Vertex's metadata."""
    return [node for node in pipeline.components if isinstance(node, BaseComponent)]
