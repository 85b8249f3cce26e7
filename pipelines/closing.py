"""What a run ends with on the terminal: the table of groups, the verdict, and where things are."""

import json
from pathlib import Path

import rich
import tensorflow as tf
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from model_patching.components.subgroup_report.table import groups_table, missed_table
from model_patching.components.subgroup_report.translation import in_words
from model_patching.components.subgroup_report.verdict import verdict
from model_patching.pipelines.console import say
from model_patching.pipelines.find_run import RUN_CONTEXT, run_artifacts


def say_closing(
    connection: metadata_store_pb2.ConnectionConfig | metadata_store_pb2.MetadataStoreClientConfig,
    run_id: str,
) -> tuple[bool | None, Path | None]:
    """Prints the outcome of a finished run, found in ML Metadata (so that a cached report is found as well).

    Args:
        connection: of the ML Metadata store.
        run_id: the run's id there.

    Returns:
        Whether the model was blessed, None if the run has no report or no gate; and the path of `summary.json`, None
        without a report.
    """
    store = MetadataStore(connection)
    run = store.get_context_by_type_and_name(RUN_CONTEXT, run_id)
    latest = {name: found[-1] for name, found in run_artifacts(store, run.id).items()} if run else {}
    report = latest.get("SubgroupReport")
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
    pushed = latest.get("PushedModel")
    if pushed is not None and pushed.custom_properties["pushed"].int_value:
        say(f"model    {pushed.custom_properties['pushed_destination'].string_value}")
    elif summary["blessed"] is False:
        say("model    not pushed")
    return summary["blessed"], Path(summary_path)
