"""How runs on the cluster are doing."""

import json
import re
import time
from collections.abc import Callable
from datetime import datetime

from kfp_server_api import V2beta1PipelineTaskDetail, V2beta1Run

from model_patching.pipelines.exit_codes import DONE, FAILED, NOT_BLESSED
from model_patching.pipelines.kubeflow.api_errors import BadRequest, ClusterError, NoAccess, NotFound
from model_patching.pipelines.kubeflow.client import Cluster
from model_patching.pipelines.kubeflow.settings import NOT_BLESSED_STEP

_SUCCEEDED, _ENDED = "SUCCEEDED", {"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"}
_SIGNS = {"SUCCEEDED": "✓", "SKIPPED": "•", "RUNNING": "…", "FAILED": "✗", "CANCELED": "✗"}
# Tasks that the server adds to those of the pipeline; executor(0) is the first try of one that may be tried again.
_INTERNAL = re.compile(r"root|(.*\.)?executor(\(\d+\))?|.*-driver|iteration-.*|condition-\d+")


def recent_runs(cluster: Cluster, count: int) -> list[V2beta1Run]:
    """The latest runs, the latest first."""
    with cluster.errors():
        answer = cluster.client.list_runs(
            page_size=count, sort_by="created_at desc", namespace=cluster.namespace
        )
    return answer.runs or []


def find_run(cluster: Cluster, run: str) -> V2beta1Run:
    """A run by its id, by its name, or the `latest`.

    Raises:
        NotFound: there is none.
        ClusterError: the cluster can't be had or has refused.
    """
    if run == "latest":
        latest = recent_runs(cluster, 1)
        if not latest:
            raise NotFound(f"{cluster.host}: there are no runs")
        return get_run(cluster, latest[0].run_id)
    try:
        return get_run(cluster, run)
    except NotFound:
        pass
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": run}
    with cluster.errors():
        answer = cluster.client.list_runs(
            page_size=1,
            sort_by="created_at desc",
            namespace=cluster.namespace,
            filter=json.dumps({"predicates": [predicate]}),
        )
    if not answer.runs:
        raise NotFound(
            f"{run}: there is no run of this id or name; `model-patching kubeflow status` lists them"
        )
    return get_run(cluster, answer.runs[0].run_id)


def get_run(cluster: Cluster, run_id: str) -> V2beta1Run:
    """A run with its tasks; raises NotFound or ClusterError."""
    with cluster.errors():
        return cluster.client.get_run(run_id)


def wait(
    cluster: Cluster,
    run: V2beta1Run,
    seconds: float,
    patience: float,
    seen: Callable[[V2beta1Run], None],
) -> V2beta1Run:
    """Waits for a run's end.

    Args:
        cluster: where.
        run: what to wait for.
        seconds: between two looks.
        patience: for how many seconds a cluster that can't be had is asked again; a refusal is not.
        seen: is called with the run at each look.
    """
    lost_since = None
    while True:
        seen(run)
        if has_ended(run):
            return run
        time.sleep(seconds)
        try:
            run = get_run(cluster, run.run_id)
            lost_since = None
        except ClusterError as error:
            lost_since = lost_since or time.monotonic()
            if isinstance(error, BadRequest | NoAccess) or time.monotonic() - lost_since > patience:
                raise


def has_ended(run: V2beta1Run) -> bool:
    """Whether nothing of it is going on any more."""
    return run.state in _ENDED


def exit_code(run: V2beta1Run) -> int:
    """0 for a run that has succeeded or is going on, 3 for one whose model wasn't blessed, 1 for any other."""
    if not has_ended(run) or run.state in (_SUCCEEDED, "SKIPPED"):
        return DONE
    failed = {task.display_name for task in tasks(run) if task.state == "FAILED"}
    return NOT_BLESSED if failed == {NOT_BLESSED_STEP} and run.state == "FAILED" else FAILED


def tasks(run: V2beta1Run) -> list[V2beta1PipelineTaskDetail]:
    """The pipeline's own tasks that there are so far, in the order in which they were started."""
    details = run.run_details.task_details if run.run_details else None
    found = [task for task in details or () if not _INTERNAL.fullmatch(task.display_name or "")]
    return sorted(found, key=lambda task: (task.start_time or task.create_time, task.display_name))


def task_line(task: V2beta1PipelineTaskDetail) -> str:
    """One line on a task, such as "✓ augmenter  61 s"."""
    line = f"{_SIGNS.get(task.state, '·')} {task.display_name}"
    if task.state not in _SIGNS or task.state in ("RUNNING", "CANCELED"):
        line += f"  {str(task.state).lower()}"
    seconds = _seconds(task.start_time, task.end_time)
    if seconds is not None and task.state in _ENDED:
        line += f"  {seconds:.0f} s"
    if task.error is not None and task.error.message:
        line += f"  {' '.join(task.error.message.split())}"
    return line


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    """None for what has not ended: the server gives 1970 then."""
    if start is None or end is None or start.year < 1971 or end < start:
        return None
    return (end - start).total_seconds()
