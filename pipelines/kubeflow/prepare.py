"""A run's first step: settles the configuration, makes the records, and writes the compiled pipeline for the others.

    python -m model_patching.pipelines.kubeflow.prepare --config JSON --set "seed=2" --run-id ID …

The pipeline is compiled here and not with the specification, since what a person fills in when starting a run changes
nodes' settings. It goes to a file under the pipeline's root and not through Kubeflow's parameters: those are passed on
command lines, and it is too long for that. So all steps of a run go by one text, whatever happens to the source of the
configuration meanwhile.
"""

import argparse
import json
import logging
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from model_patching.pipelines.config import ConfigError, PipelineConfig, config_from_tree
from model_patching.pipelines.console import say
from model_patching.pipelines.kubeflow.settled import is_settled
from model_patching.pipelines.metadata_store import check_store
from model_patching.pipelines.step import run_step


def prepare(
    tree: dict,
    overrides: str,
    run_id: str,
    compiled_graph: dict[str, list[str]],
    store: str,
) -> str:
    """Does what the module says.

    Args:
        tree: the configuration that the specification was compiled from.
        overrides: "training.epochs=5 seed=2", quoted as in a shell.
        run_id: names the run in ML Metadata. That of an earlier run goes on with it.
        compiled_graph: the nodes of the specification and what each waits for.
        store: URL of ML Metadata.

    Returns:
        Path of the compiled pipeline.

    Raises:
        ConfigError: the configuration is wrong, asks for another graph, or isn't that of the earlier run.
        StoreError: ML Metadata can't be had.
        NodeFailed, ValueError: the records or a network can't be built.
    """
    check_store(store)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", run_id):
        raise ConfigError(f"run_id: {run_id!r} must be letters, digits, and . _ - between them")
    for override in _split(overrides):
        if is_settled(override):
            raise ConfigError(
                f"overrides: {override}: is settled when the pipeline is compiled; compile it again with --set"
            )
    config = config_from_tree(tree, "overrides", _split(overrides))

    import tensorflow as tf
    from tfx.dsl.compiler.compiler import Compiler

    from model_patching.pipelines.build_records import build_records
    from model_patching.pipelines.check_networks import check_networks
    from model_patching.pipelines.kubeflow import ir
    from model_patching.pipelines.pipeline import create_pipeline
    from model_patching.pipelines.run_node import write_whole

    pipeline = Compiler().compile(create_pipeline(config))
    if ir.graph(pipeline) != compiled_graph:
        changed = sorted(set(ir.graph(pipeline)) ^ set(compiled_graph))
        raise ConfigError(
            f"overrides: {overrides}: gives other nodes or another order of them ({', '.join(changed) or 'order'}); "
            "compile the pipeline again with --set"
        )
    check_networks(config)
    build_records(config)
    path = _ir_path(config, run_id)
    text = ir.to_json(pipeline)
    if tf.io.gfile.exists(path):
        with tf.io.gfile.GFile(path) as stream:
            if stream.read() != text:
                raise ConfigError(
                    f"run_id: {run_id} is the id of a run with other settings or another version of the code; "
                    "give another one, or none"
                )
    write_whole(path, text)
    return path


def _split(overrides: str) -> list[str]:
    try:
        return shlex.split(overrides)
    except ValueError as error:
        raise ConfigError(f"overrides: {overrides}: {error}") from None


def _ir_path(config: PipelineConfig, run_id: str) -> str:
    return f"{config.pipeline_root}/ir/{run_id}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the arguments and prepares; the exit code is 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", required=True, type=json.loads, help="the configuration, as JSON")
    parser.add_argument("--graph", required=True, type=json.loads, help="the nodes and what each waits for")
    parser.add_argument("--metadata", required=True, help="URL of the ML Metadata store")
    parser.add_argument("--set", dest="overrides", default="", help="overrides of the configuration")
    parser.add_argument("--run-id", default="", help="id of the run")
    parser.add_argument("--kubeflow-run", default="", help="id of the run where --run-id gives none")
    parser.add_argument("--ir-output", required=True, type=Path, help="file that gets the path of the IR")
    parser.add_argument("--run-id-output", required=True, type=Path, help="file that gets the run's id")
    given = parser.parse_args(arguments)
    run_id = given.run_id.strip() or given.kubeflow_run
    path = prepare(given.config, given.overrides, run_id, given.graph, given.metadata)
    for file, text in ((given.ir_output, path), (given.run_id_output, run_id)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    say(f"✓ run {run_id}  {path}")
    return 0


if __name__ == "__main__":
    logging.captureWarnings(True)
    run_step(main)
