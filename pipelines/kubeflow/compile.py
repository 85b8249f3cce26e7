"""Compiles a configuration to a pipeline of Kubeflow Pipelines: a container for each node, in the order of the graph.

Each step runs its node by TFX itself, against an ML Metadata store that they share (`node.py`). Kubeflow only starts
containers: types of artifacts, lineage and the cache are TFX's, the same as on one machine.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from kfp import dsl, kubernetes
from kfp.compiler import Compiler
from kfp.dsl.graph_component import GraphComponent
from tfx.dsl.compiler.compiler import Compiler as TfxCompiler

from model_patching.pipelines.config import ConfigError, PipelineConfig, config_from_tree
from model_patching.pipelines.kubeflow import ir
from model_patching.pipelines.kubeflow.settings import (
    NOT_BLESSED_STEP,
    PREPARE,
    VERDICT,
    KubeflowSettings,
    StepSettings,
)
from model_patching.pipelines.metadata_store import PASSWORD
from model_patching.pipelines.pipeline import create_pipeline


def compile_pipeline(config: PipelineConfig, settings: KubeflowSettings, output: Path) -> None:
    """Writes the specification of a pipeline, as YAML that Kubeflow Pipelines takes.

    Args:
        config: what the nodes are made from.
        settings: of the cluster.
        output: the file, .yaml or .yml; it is written whole or not at all.

    Raises:
        ConfigError: the configuration can't be compiled for a cluster.
        OSError: the file can't be written.
    """
    tree = _cluster_tree(config, settings)
    graph = ir.graph(TfxCompiler().compile(create_pipeline(_graph_config(tree))))
    unknown = sorted(set(settings.nodes) - set(graph) - {PREPARE, VERDICT})
    if unknown:
        raise ConfigError(
            f"kubeflow.nodes: {unknown[0]}: there is no such node; there are {', '.join([PREPARE, *graph, VERDICT])}"
        )
    pipeline = _pipeline(config, settings, tree, graph)
    _let_tries_take_their_time(pipeline, settings)
    partial = output.with_name(f".{output.name}.part.yaml")
    try:
        Compiler().compile(pipeline, str(partial))
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _cluster_tree(config: PipelineConfig, settings: KubeflowSettings) -> dict:
    """The configuration as the first step gets it: on the cluster's storage."""
    if settings.root.startswith("gs://") and (
        config.data.records is None or config.data.features is not None
    ):
        raise ConfigError(
            f"kubeflow.root: records are built on a volume, and {settings.root} is none; give data.records that "
            "`model-patching data build` has made, or a root on a volume"
        )
    return {**config.model_dump(mode="json"), "root": settings.root, "kubeflow": None, "vertex": None}


def _graph_config(tree: dict) -> PipelineConfig:
    """For the nodes and their order alone: does not look at records, which are on the cluster and not here."""
    of_conversion = ("features", "image", "skip_bad")
    data = {key: value for key, value in tree["data"].items() if key not in of_conversion}
    return config_from_tree({**tree, "data": data}, "graph", files_are_here=False)


def _pipeline(
    config: PipelineConfig, settings: KubeflowSettings, tree: dict, graph: Mapping[str, list[str]]
) -> GraphComponent:
    """The pipeline as kfp compiles it."""

    @dsl.pipeline(name=config.pipeline_name.replace("_", "-"), description="Model patching")
    def pipeline(overrides: str = "", run_id: str = ""):
        """Repairs the subgroups that a classifier gets wrong.

        Args:
            overrides: settings of this run, with spaces between: training.epochs=5 seed=2
            run_id: empty for a new run; the id of an earlier run goes on with it
        """
        prepared = _prepare(settings, tree, graph)(
            overrides=overrides, run_id=run_id, kubeflow_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER
        )
        _configure(prepared, PREPARE, settings)
        shared = {"run_id": prepared.outputs["run_id_output"]}
        tasks = {}
        for node_id, upstream in graph.items():
            task = _node(settings, node_id)(ir=prepared.outputs["ir_output"], **shared)
            task.after(*[tasks[name] for name in upstream])
            _configure(task, node_id, settings)
            tasks[node_id] = task
        ends = set(graph) - {name for upstream in graph.values() for name in upstream}
        last = _verdict(settings)(**shared).after(*[tasks[name] for name in graph if name in ends])
        _configure(last, VERDICT, settings)
        if settings.fail_unless_blessed:
            with dsl.If(last.outputs["blessed_output"] == "false"):
                _configure(_not_blessed(settings)(), NOT_BLESSED_STEP, settings)

    return pipeline


def _prepare(settings: KubeflowSettings, tree: dict, graph: Mapping[str, list[str]]):
    def prepare(
        overrides: str,
        run_id: str,
        kubeflow_run: str,
        ir_output: dsl.OutputPath(str),
        run_id_output: dsl.OutputPath(str),
    ):
        arguments = ["--config", _json(tree), "--graph", _json(graph), "--metadata", settings.metadata.url]
        arguments += ["--set", overrides, "--run-id", run_id, "--kubeflow-run", kubeflow_run]
        arguments += ["--ir-output", ir_output, "--run-id-output", run_id_output]
        return _container(settings, "prepare", arguments)

    return dsl.container_component(prepare)


def _node(settings: KubeflowSettings, node_id: str):
    def node(ir: str, run_id: str):
        arguments = ["--ir", ir, "--node", node_id, "--run-id", run_id, "--metadata", settings.metadata.url]
        return _container(settings, "node", arguments)

    # kfp names the step after the function.
    node.__name__ = re.sub(r"\W", "_", node_id).lower()
    return dsl.container_component(node)


def _verdict(settings: KubeflowSettings):
    def verdict(run_id: str, blessed_output: dsl.OutputPath(str)):
        arguments = ["--run-id", run_id, "--metadata", settings.metadata.url]
        return _container(settings, "verdict", [*arguments, "--blessed-output", blessed_output])

    return dsl.container_component(verdict)


def _not_blessed(settings: KubeflowSettings):
    def not_blessed():
        return _container(settings, "not_blessed", [])

    return dsl.container_component(not_blessed)


def _container(settings: KubeflowSettings, module: str, arguments: Sequence) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(
        image=settings.image,
        command=["python", "-m", f"model_patching.pipelines.kubeflow.{module}"],
        args=list(arguments),
    )


def _configure(task: dsl.PipelineTask, name: str, settings: KubeflowSettings) -> None:
    """Gives a step its name, environment, storage and machine."""
    task.set_display_name(name)
    # Whether a node has to run is TFX's to say, which also looks at files and code; Kubeflow would skip its question.
    task.set_caching_options(enable_caching=False)
    for variable, value in settings.environment.items():
        task.set_env_variable(variable, value)
    for secret in settings.secrets:
        kubernetes.use_secret_as_env(task, secret.secret, {secret.key: secret.variable})
    password = settings.metadata.password
    if password is not None:
        kubernetes.use_secret_as_env(task, password.secret, {password.key: PASSWORD})
    if settings.volume is not None:
        kubernetes.mount_pvc(task, settings.volume.claim, settings.volume.mount_path)
    if settings.image_pull_policy is not None:
        kubernetes.set_image_pull_policy(task, settings.image_pull_policy)
    if settings.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(settings.image_pull_secrets))
    _place(task, settings.step(name))


def _place(task: dsl.PipelineTask, step: StepSettings) -> None:
    """Says what machine a step needs, and how often it is tried."""
    for amount, set_amount in (
        (step.cpu_request, task.set_cpu_request),
        (step.cpu_limit, task.set_cpu_limit),
        (step.memory_request, task.set_memory_request),
        (step.memory_limit, task.set_memory_limit),
    ):
        if amount is not None:
            set_amount(amount)
    if step.accelerator is not None and step.accelerator_count != 0:
        task.set_accelerator_type(step.accelerator)
        task.set_accelerator_limit(step.accelerator_count or 1)
    for label, value in (step.node_selector or {}).items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in step.tolerations or ():
        kubernetes.add_toleration(task, **toleration.model_dump(exclude_none=True))
    if step.retries is not None and step.retries.count:
        task.set_retry(
            num_retries=step.retries.count,
            backoff_duration=f"{step.retries.backoff_seconds}s",
            backoff_factor=step.retries.backoff_factor,
        )


def _let_tries_take_their_time(pipeline: GraphComponent, settings: KubeflowSettings) -> None:
    """Says in the compiled pipeline after what time a step isn't tried again.

    kfp cuts this backoffMaxDuration at an hour. Kubeflow Pipelines hands it to Argo as it stands in the file, as the
    deadline of all tries together, counted from the start of the first one.
    """
    for task in pipeline.pipeline_spec.root.dag.tasks.values():
        if task.HasField("retry_policy"):
            retries = settings.step(task.task_info.name).retries
            task.retry_policy.backoff_max_duration.FromSeconds(retries.give_up_after_seconds)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
