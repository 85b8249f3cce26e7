"""Recurring runs. Kubeflow Pipelines knows them by ids and allows two of one name; here a name is one schedule."""

import json
from typing import NamedTuple

from kfp_server_api import V2beta1RecurringRun

from model_patching.pipelines.kubeflow.api_errors import BadRequest, ClusterError, NameTaken, NotFound
from model_patching.pipelines.kubeflow.client import Cluster
from model_patching.pipelines.kubeflow.specification import Specification, check_arguments
from model_patching.pipelines.kubeflow.upload import upload

_PAGE = 100


class Times(NamedTuple):
    """What a schedule does.

    Attributes:
        cron: six fields, see `cron.py`, in the cluster's time zone.
        paused: whether it waits to be resumed.
        experiment: under which Kubeflow shows its runs.
        service_account: of Kubernetes, as which their steps run.
    """

    cron: str
    paused: bool
    experiment: str
    service_account: str | None = None


def schedules(cluster: Cluster, name: str | None = None) -> list[V2beta1RecurringRun]:
    """All schedules, or those of a name, the latest first."""
    named = None
    if name is not None:
        predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        named = json.dumps({"predicates": [predicate]})
    found, token = [], ""
    while True:
        with cluster.errors():
            answer = cluster.client.list_recurring_runs(
                page_token=token,
                page_size=_PAGE,
                sort_by="created_at desc",
                namespace=cluster.namespace,
                filter=named,
            )
        found += answer.recurring_runs or []
        token = answer.next_page_token
        if not token:
            return found


def create(
    cluster: Cluster, name: str, found: Specification, arguments: dict[str, str], times: Times
) -> None:
    """Makes a schedule.

    Raises:
        NameTaken: there is one of this name.
        ClusterError: the cluster can't be had or has refused.
    """
    check_arguments(found, arguments)
    if schedules(cluster, name):
        raise NameTaken(
            f"{name}: there is a schedule of this name; `schedule replace` puts another one in its place"
        )
    _create(cluster, name, found, arguments, times, enabled=not times.paused)


def replace(
    cluster: Cluster, name: str, found: Specification, arguments: dict[str, str], times: Times
) -> None:
    """Puts a schedule in the place of the one of this name.

    A recurring run can't be changed. The new one is made switched off; then the old one is switched off, the new one
    on, and the old one deleted: at no time are two switched on, and until the old one is deleted all of it is taken
    back where a request fails. The same command heals what a killed one has left.

    Raises:
        NotFound: there is none of this name.
        ClusterError: the cluster can't be had or has refused; the message says what is left.
    """
    check_arguments(found, arguments)
    old = schedules(cluster, name)
    if not old:
        raise NotFound(f"{name}: there is no schedule of this name; `schedule create` makes one")
    new = _create(cluster, name, found, arguments, times, enabled=False)
    running = [schedule for schedule in old if is_on(schedule)]
    try:
        for schedule in running:
            _switch(cluster, schedule.recurring_run_id, on=False)
        if not times.paused:
            _switch(cluster, new, on=True)
    except (ClusterError, KeyboardInterrupt) as error:
        _take_back(cluster, name, new, running, str(error) or "interrupted")
        raise
    try:
        for schedule in old:
            _delete(cluster, schedule.recurring_run_id)
    except ClusterError as error:
        raise ClusterError(
            f"{error}; {name} is replaced, but the old schedule is still there, switched off: `schedule replace` again"
        ) from None


def pause(cluster: Cluster, name: str) -> None:
    """Switches a schedule off; raises NotFound where there is none of this name."""
    for schedule in _existing(cluster, name):
        _switch(cluster, schedule.recurring_run_id, on=False)


def resume(cluster: Cluster, name: str) -> None:
    """Switches a schedule on again; raises NotFound where there is none, BadRequest where there are several."""
    found = _existing(cluster, name)
    if len(found) > 1:
        raise BadRequest(
            f"{name}: there are {len(found)} of this name; `schedule replace` or `schedule delete` it"
        )
    _switch(cluster, found[0].recurring_run_id, on=True)


def delete(cluster: Cluster, name: str) -> None:
    """Deletes a schedule; its runs stay. Raises NotFound where there is none of this name."""
    for schedule in _existing(cluster, name):
        _delete(cluster, schedule.recurring_run_id)


def is_on(schedule: V2beta1RecurringRun) -> bool:
    """Whether it starts runs."""
    return schedule.status == "ENABLED"


def _existing(cluster: Cluster, name: str) -> list[V2beta1RecurringRun]:
    found = schedules(cluster, name)
    if not found:
        raise NotFound(f"{name}: there is no schedule of this name; `schedule list` has them")
    return found


def _create(
    cluster: Cluster,
    name: str,
    found: Specification,
    arguments: dict[str, str],
    times: Times,
    enabled: bool,
) -> str:
    """Makes a recurring run; its id."""
    version = upload(cluster, found)
    with cluster.errors():
        group = cluster.client.create_experiment(times.experiment, namespace=cluster.namespace)
        created = cluster.client.create_recurring_run(
            group.experiment_id,
            name,
            cron_expression=times.cron,
            # Runs share the last blessed model and the checkpoints. What was missed while one took too long, or while
            # the schedule was paused, isn't made up for: each run takes all the data that there is.
            max_concurrency=1,
            no_catchup=True,
            params=arguments,
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
            enabled=enabled,
            service_account=times.service_account,
        )
    return created.recurring_run_id


def _switch(cluster: Cluster, schedule_id: str, on: bool) -> None:
    with cluster.errors():
        if on:
            cluster.client.enable_recurring_run(schedule_id)
        else:
            cluster.client.disable_recurring_run(schedule_id)


def _delete(cluster: Cluster, schedule_id: str) -> None:
    """One that somebody else has deleted in the meantime is gone as well."""
    try:
        with cluster.errors():
            cluster.client.delete_recurring_run(schedule_id)
    except NotFound:
        pass


def _take_back(cluster: Cluster, name: str, new: str, running: list[V2beta1RecurringRun], error: str) -> None:
    """Removes the new schedule and switches the old one on again; where that fails, too, says what is left."""
    try:
        _delete(cluster, new)
        for schedule in running:
            _switch(cluster, schedule.recurring_run_id, on=True)
    except ClusterError:
        raise ClusterError(
            f"{error}; {name} may be switched off now, and be there twice: `schedule replace` again heals it"
        ) from None
