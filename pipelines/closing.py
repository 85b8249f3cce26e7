"""What a run ends with on the terminal: the table of groups, the verdict, and where things are."""

import json
from pathlib import Path
from typing import Any

import rich
import tensorflow as tf
from tfx.orchestration import metadata

from model_patching.components.subgroup_report.table import groups_table, missed_table
from model_patching.components.subgroup_report.translation import in_words
from model_patching.components.subgroup_report.verdict import verdict
from model_patching.pipelines.console import say


def say_closing(connection: metadata.ConnectionConfigType, run_id: str) -> tuple[bool | None, Path | None]:
    """Prints the outcome of a finished run, found in ML Metadata (so that a cached report is found as well).

    Args:
        connection: of the ML Metadata store.
        run_id: the run's id there.

    Returns:
        Whether the model was blessed, None if the run has no report or no gate; and the path of `summary.json`, None
        without a report.
    """
    artifacts = _artifacts(connection, run_id)
    report = artifacts.get("SubgroupReport")
    if report is None:
        return None, None
    summary_path = f"{report.uri}/summary.json"
    with tf.io.gfile.GFile(summary_path) as stream:
        summary = json.load(stream)
    console = rich.get_console()
    console.print()
    console.print(groups_table(summary))
    if summary["missed_thresholds"]:
        console.print(missed_table(summary))
    say(verdict(summary), style="bold")
    if summary["translation"]:
        say(f"translation  {in_words(summary['translation'])}")
    say(f"report   {report.uri}/report.html")
    say(f"figures  {summary_path}")
    pushed = artifacts.get("PushedModel")
    if pushed is not None and pushed.custom_properties["pushed"].int_value:
        say(f"model    {pushed.custom_properties['pushed_destination'].string_value}")
    elif summary["blessed"] is False:
        say("model    not pushed")
    return summary["blessed"], Path(summary_path)


def _artifacts(connection: metadata.ConnectionConfigType, run_id: str) -> dict[str, Any]:
    """The run's artifacts by the name of their type, the latest where there are several."""
    with metadata.Metadata(connection) as handle:
        context = handle.store.get_context_by_type_and_name("pipeline_run", run_id)
        found = handle.store.get_artifacts_by_context(context.id) if context else []
    return {artifact.type: artifact for artifact in sorted(found, key=lambda artifact: artifact.id)}
