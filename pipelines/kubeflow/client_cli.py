"""`model-patching kubeflow submit | schedule | status`: what is asked of a cluster. kfp is loaded only when asking."""

import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_patching.pipelines.config import ConfigError
from model_patching.pipelines.console import print_table
from model_patching.pipelines.exit_codes import BAD_INPUT, FAILED, INTERRUPTED, NOT_BLESSED
from model_patching.pipelines.require_kfp import require_kfp

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Run

    from model_patching.pipelines.kubeflow.client import Cluster
    from model_patching.pipelines.kubeflow.schedule import Times

_EXPERIMENT = "model-patching"

client_app = typer.Typer(help="Run the pipeline on Kubeflow Pipelines.", no_args_is_help=True)
schedule_app = typer.Typer(help="Run a pipeline again and again.", no_args_is_help=True)
client_app.add_typer(schedule_app, name="schedule")

Host = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="KF_PIPELINES_ENDPOINT",
        help="Kubeflow Pipelines: its user interface or API, such as http://localhost:8080.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        envvar="KF_PIPELINES_NAMESPACE",
        help="Of your profile, where the cluster has several users.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        envvar="KF_PIPELINES_TOKEN",
        help="Of the user. Other users of this machine can see an option; the variable they can't.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="KF_PIPELINES_SA_TOKEN_PATH", help="That holds the token instead."),
]
CaFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="SSL_CERT_FILE", help="Certificates to trust, PEM."),
]
Pipeline = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE",
        help="What `kubeflow compile` has written; or a preset, or path of its YAML file, to be compiled.",
    ),
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: --set training.epochs=5.")
]
Experiment = Annotated[
    str, typer.Option(metavar="NAME", help="Under which Kubeflow shows the runs; made if there is none.")
]
ServiceAccount = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of Kubernetes, as which the steps run.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Until the run has ended; print its steps as they end.")]
Every = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="With --wait: between two looks.")]
ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="Of the schedule.")]
Cron = Annotated[
    str,
    typer.Option(
        metavar="FIELDS",
        help="When: minute, hour, day of the month, month, day of the week; seconds first if there are six. "
        "In the cluster's time zone, UTC unless it was set.",
    ),
]
Name = Annotated[str, typer.Option(metavar="NAME", help="Of the schedule.")]
Paused = Annotated[bool, typer.Option("--paused", help="Switch it off until `schedule resume`.")]


@client_app.command()
def submit(
    pipeline: Pipeline,
    overrides: Overrides = [],  # noqa: B006, typer copies it
    run_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Of an earlier run in ML Metadata, to go on with it; a new run unless given."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the run in Kubeflow.")] = None,
    experiment: Experiment = _EXPERIMENT,
    service_account: ServiceAccount = None,
    wait: Wait = False,
    every: Every = 10,
    host: Host = None,
    namespace: Namespace = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Start a run on the cluster, and print its id and page.

    Exit codes: 0 started, or with --wait succeeded; 1 the cluster can't be had or the run has failed; 2 an argument is
    wrong; 3 with --wait: the model wasn't blessed; 130 interrupted, and the run goes on.
    """
    with _cluster(host, namespace, token, token_file, ca_file) as cluster, _folder() as folder:
        from model_patching.pipelines.kubeflow.specification import specification
        from model_patching.pipelines.kubeflow.status import get_run
        from model_patching.pipelines.kubeflow.submit import submit as start

        found, arguments = specification(pipeline, overrides, folder)
        if run_id is not None:
            arguments["run_id"] = run_id
        started = start(
            cluster, found, arguments, experiment=experiment, name=name, service_account=service_account
        )
        typer.echo(f"{started}\n{cluster.page(f'runs/details/{started}')}")
        if wait:
            raise typer.Exit(_follow(cluster, get_run(cluster, started), every))


@client_app.command()
def status(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Id or name of a run, or `latest`; none lists them.")
    ] = None,
    wait: Wait = False,
    every: Every = 10,
    count: Annotated[int, typer.Option(min=1, max=200, metavar="N", help="Of runs in the list.")] = 10,
    host: Host = None,
    namespace: Namespace = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Say how a run is doing, step by step; without RUN, list the latest.

    Exit codes: 0 it has succeeded or is going on; 1 it has failed or was stopped, or the cluster can't be had; 2 there
    is no such run, or an argument is wrong; 3 it is done, but the model wasn't blessed; 130 interrupted.
    """
    if run is None and wait:
        raise _wrong("--wait: say for which run; `latest` is one")
    with _cluster(host, namespace, token, token_file, ca_file) as cluster:
        from model_patching.pipelines.kubeflow.status import find_run, recent_runs

        if run is None:
            _say_runs(recent_runs(cluster, count))
            return
        raise typer.Exit(_follow(cluster, find_run(cluster, run), every if wait else None))


@schedule_app.command(name="create")
def create_schedule(
    pipeline: Pipeline,
    cron: Cron,
    name: Name = _EXPERIMENT,
    overrides: Overrides = [],  # noqa: B006, typer copies it
    experiment: Experiment = _EXPERIMENT,
    paused: Paused = False,
    service_account: ServiceAccount = None,
    host: Host = None,
    namespace: Namespace = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Run a pipeline at certain times. A run that is due while another one goes on waits for it.

    Exit codes: 0 done, 1 the cluster can't be had, 2 an argument is wrong or there is a schedule of this name.
    """
    times = _times(cron, paused, experiment, service_account)
    with _cluster(host, namespace, token, token_file, ca_file) as cluster, _folder() as folder:
        from model_patching.pipelines.kubeflow.schedule import create
        from model_patching.pipelines.kubeflow.specification import specification

        create(cluster, name, *specification(pipeline, overrides, folder), times)
    _say_scheduled(name, times)


@schedule_app.command(name="replace")
def replace_schedule(
    pipeline: Pipeline,
    cron: Cron,
    name: Name = _EXPERIMENT,
    overrides: Overrides = [],  # noqa: B006, typer copies it
    experiment: Experiment = _EXPERIMENT,
    paused: Paused = False,
    service_account: ServiceAccount = None,
    host: Host = None,
    namespace: Namespace = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Put another pipeline, other settings or other times in a schedule's place. It is switched on then.

    Where it fails, the old one stays; where it is killed, the same command again leaves one.
    Exit codes: 0 done, 1 the cluster can't be had, 2 an argument is wrong or there is no schedule of this name.
    """
    times = _times(cron, paused, experiment, service_account)
    with _cluster(host, namespace, token, token_file, ca_file) as cluster, _folder() as folder:
        from model_patching.pipelines.kubeflow.schedule import replace
        from model_patching.pipelines.kubeflow.specification import specification

        replace(cluster, name, *specification(pipeline, overrides, folder), times)
    _say_scheduled(name, times)


@schedule_app.command(name="list")
def list_schedules(
    host: Host = None,
    namespace: Namespace = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """List the schedules.

    Exit codes: 0 done, 1 the cluster can't be had, 2 an argument is wrong.
    """
    with _cluster(host, namespace, token, token_file, ca_file) as cluster:
        from rich.markup import escape
        from rich.table import Table

        from model_patching.pipelines.kubeflow.schedule import is_on, schedules

        table = Table()
        for heading in ("schedule", "cron", "state", "settings", "id"):
            table.add_column(heading, overflow="fold")
        for schedule in schedules(cluster):
            cron = schedule.trigger.cron_schedule if schedule.trigger else None
            parameters = (schedule.runtime_config.parameters if schedule.runtime_config else None) or {}
            table.add_row(
                *map(
                    escape,
                    (
                        schedule.display_name,
                        (cron.cron if cron else None) or "–",
                        "on" if is_on(schedule) else "paused",
                        str(parameters.get("overrides", "")),
                        schedule.recurring_run_id,
                    ),
                )
            )
        print_table(table)


@schedule_app.command()
def pause(
    name: ScheduleName = _EXPERIMENT,
    host: Host = None,
    namespace: Namespace = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Switch a schedule off. A run that is going on goes on.

    Exit codes: 0 done, 1 the cluster can't be had, 2 there is no schedule of this name.
    """
    with _cluster(host, namespace, token, token_file, ca_file) as cluster:
        from model_patching.pipelines.kubeflow import schedule

        schedule.pause(cluster, name)
    typer.echo(f"{name}: paused")


@schedule_app.command()
def resume(
    name: ScheduleName = _EXPERIMENT,
    host: Host = None,
    namespace: Namespace = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Switch a schedule on again. What it has missed isn't made up for.

    Exit codes: 0 done, 1 the cluster can't be had, 2 there is no schedule of this name.
    """
    with _cluster(host, namespace, token, token_file, ca_file) as cluster:
        from model_patching.pipelines.kubeflow import schedule

        schedule.resume(cluster, name)
    typer.echo(f"{name}: on")


@schedule_app.command()
def delete(
    name: ScheduleName = _EXPERIMENT,
    host: Host = None,
    namespace: Namespace = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
) -> None:
    """Delete a schedule. Its runs stay.

    Exit codes: 0 done, 1 the cluster can't be had, 2 there is no schedule of this name.
    """
    with _cluster(host, namespace, token, token_file, ca_file) as cluster:
        from model_patching.pipelines.kubeflow import schedule

        schedule.delete(cluster, name)
    typer.echo(f"{name}: deleted")


@contextmanager
def _cluster(
    host: str | None,
    namespace: str | None,
    token: str | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> Iterator["Cluster"]:
    """A connection; ends the command with one line where it or what is done with it fails."""
    require_kfp()
    from model_patching.pipelines.kubeflow.api_errors import BadRequest, ClusterError
    from model_patching.pipelines.kubeflow.client import Address, connect

    try:
        yield connect(Address(host, namespace, token, token_file, ca_file))
    except (BadRequest, ConfigError) as error:
        raise _wrong(str(error)) from None
    except ClusterError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _times(cron: str, paused: bool, experiment: str, service_account: str | None) -> "Times":
    """What a schedule is to do; ends the command where the times can't be read."""
    require_kfp()
    from model_patching.pipelines.kubeflow.cron import BadCron, kubeflow_cron
    from model_patching.pipelines.kubeflow.schedule import Times

    try:
        return Times(kubeflow_cron(cron), paused, experiment, service_account)
    except BadCron as error:
        raise _wrong(str(error)) from None


def _say_scheduled(name: str, times: "Times") -> None:
    typer.echo(
        f"{name}: {'paused' if times.paused else 'on'}, {shlex.quote(times.cron)} (second, minute, hour, day of the "
        "month, month, day of the week) in the cluster's time zone, UTC unless CRON_SCHEDULE_TIMEZONE was set there"
    )


def _follow(cluster: "Cluster", run: "V2beta1Run", every: float | None) -> int:
    """Prints a run's steps, each once: those that there are, or with `every` as they end; the exit code."""
    from model_patching.pipelines.kubeflow import status as runs

    said = set()

    def say_ended(seen: "V2beta1Run") -> None:
        for task in runs.tasks(seen):
            if task.task_id not in said and task.end_time and task.end_time.year > 1970:
                said.add(task.task_id)
                typer.echo(runs.task_line(task))

    if every is None:
        for task in runs.tasks(run):
            typer.echo(runs.task_line(task))
    else:
        run = runs.wait(cluster, run, every, patience=600, seen=say_ended)
    typer.echo(f"{run.display_name}: {str(run.state).lower()}")
    if run.error is not None and run.error.message:
        typer.echo(" ".join(run.error.message.split()))
    code = runs.exit_code(run)
    if code == NOT_BLESSED:
        typer.echo("the model was not blessed, and nothing was pushed")
    if code:
        typer.echo(cluster.page(f"runs/details/{run.run_id}"))
    return code


def _say_runs(found: "list[V2beta1Run]") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for heading in ("run", "state", "created", "id"):
        table.add_column(heading, overflow="fold")
    for run in found:
        created = f"{run.created_at:%Y-%m-%d %H:%M}" if run.created_at else "–"
        table.add_row(*map(escape, (run.display_name, str(run.state).lower(), created, run.run_id)))
    print_table(table)


def _wrong(message: str) -> typer.Exit:
    """Says what is wrong with the arguments; the exit to raise."""
    typer.echo(message, err=True)
    return typer.Exit(BAD_INPUT)
