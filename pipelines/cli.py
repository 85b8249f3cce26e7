"""`model-patching`: the command line. TFX is loaded only where it runs something."""

import csv
import json
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from model_patching.pipelines import config as configuration
from model_patching.pipelines.data_cli import data_app
from model_patching.pipelines.exit_codes import BAD_INPUT, DONE, FAILED, NOT_BLESSED
from model_patching.pipelines.kubeflow.cli import kubeflow_app
from model_patching.pipelines.vertex.cli import vertex_app

main = typer.Typer(
    name="model-patching",
    help="Find and repair the subgroups that an image classifier gets wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
main.add_typer(data_app, name="data")
main.add_typer(kubeflow_app, name="kubeflow")
main.add_typer(vertex_app, name="vertex")

Preset = Annotated[str, typer.Argument(metavar="PRESET", help="Name of a preset, or path of a YAML file.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: --set training.epochs=5.")
]
Root = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs, `root` in their configuration.")]
Share = Annotated[float | None, typer.Option(min=0, max=1)]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"model-patching {version('model-patching')}")
        raise typer.Exit


@main.callback()
def _main(
    wanted: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@main.command()
def run(
    preset: Preset,
    overrides: Overrides = [],  # noqa: B006, typer copies it
    root: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for everything that runs leave.")
    ] = None,
) -> None:
    """Run a pipeline on this machine.

    Exit codes: 0 done, 1 a node failed, 2 the configuration is wrong, 3 the model wasn't blessed, 130 interrupted.
    """
    config = _load(preset, overrides, root)
    from model_patching.pipelines.run import run as run_pipeline

    raise typer.Exit(run_pipeline(config).code)


@main.command()
def sweep(
    presets: Annotated[list[str], typer.Argument(metavar="PRESET…", help="Presets, or paths of YAML files.")],
    seeds: Annotated[str, typer.Option(metavar="SEED,SEED…", help="Seeds of the trainings, with commas.")],
    overrides: Overrides = [],  # noqa: B006, typer copies it
    root: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for everything that runs leave.")
    ] = None,
) -> None:
    """Run each preset once for each seed of the classifier's training, and compare the methods.

    Data and translators that are the same come from the cache. The same command goes on with a sweep that was
    interrupted.

    Exit codes: 0 done, 1 a node failed, 2 an argument or the configuration is wrong, 130 interrupted.
    """
    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        typer.echo(
            f"--seeds {seeds}: give whole numbers with commas between, for example --seeds 2,3,4", err=True
        )
        raise typer.Exit(BAD_INPUT) from None
    if len(set(numbers)) < len(numbers):
        typer.echo(f"--seeds {seeds}: a seed comes twice", err=True)
        raise typer.Exit(BAD_INPUT)
    for override in overrides:
        if override.partition("=")[0].strip() == "training.seed":
            typer.echo(f"--set {override}: a sweep's seeds are given by --seeds", err=True)
            raise typer.Exit(BAD_INPUT)
    if len(set(presets)) < len(presets):
        typer.echo(f"{' '.join(presets)}: a preset comes twice", err=True)
        raise typer.Exit(BAD_INPUT)
    configs = {
        preset: [_load(preset, [*overrides, f"training.seed={seed}"], root) for seed in numbers]
        for preset in presets
    }
    from model_patching.pipelines.sweep import NotComparable
    from model_patching.pipelines.sweep import sweep as run_sweep

    try:
        code = run_sweep(configs)
    except NotComparable as error:
        typer.echo(error, err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        raise _cannot_write(error) from None
    except ValueError as error:
        typer.echo(error, err=True)
        raise typer.Exit(FAILED) from None
    raise typer.Exit(code)


@main.command()
def presets() -> None:
    """List the presets."""
    names = configuration.preset_names()
    width = max(len(name) for name in names)
    for name in names:
        typer.echo(f"{name:{width}}  {configuration.preset_title(name)}")


@main.command()
def config(preset: Preset, overrides: Overrides = []) -> None:  # noqa: B006, typer copies it
    """Print a preset's settings with every default, as YAML that `run` takes."""
    typer.echo(configuration.config_as_yaml(_load(preset, overrides, None)), nl=False)


@main.command()
def translate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a CycleGANTrainer's model.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="PNG or JPEG files.")],
    target: Annotated[str, typer.Option("--to", metavar="SUBGROUP", help="Render them in this subgroup.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SUBGROUP", help="They are of this subgroup; not needed if there are only two."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results, <name>.<subgroup>.png.")
    ] = Path("."),
    resize: Annotated[
        bool, typer.Option("--resize", help="Scale images of another size to the model's.")
    ] = False,
) -> None:
    """Render images in another subgroup.

    Exit codes: 0 done, 1 a result can't be made or written, 2 an argument is wrong and nothing was written.
    """
    from model_patching.pipelines.translate_images import WrongArgument, translate_images

    try:
        translate_images(model, images, target, source, output, resize)
    except WrongArgument as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        raise _cannot_write(error) from None
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None


@main.command()
def evaluate(
    predictions: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="CSV with the columns label, subgroup, and prediction or probability_<class> for each class.",
        ),
    ],
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another model's predictions of the same examples.")
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of report.html and summary.json.")
    ] = Path("evaluation"),
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME…",
            help="The classes in their order; numbers in the file may stand for them, counted from 0.",
        ),
    ] = None,
    subgroups: Annotated[
        str | None, typer.Option(metavar="NAME,NAME…", help="The subgroups in their order, likewise.")
    ] = None,
    label_column: Annotated[str, typer.Option(metavar="NAME")] = "label",
    subgroup_column: Annotated[str, typer.Option(metavar="NAME")] = "subgroup",
    prediction_column: Annotated[str, typer.Option(metavar="NAME")] = "prediction",
    probability_prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="What the columns of probabilities begin with.")
    ] = "probability_",
    min_worst_group_accuracy: Share = None,
    max_subgroup_gap: Share = None,
    max_worst_group_drop: Annotated[
        float | None, typer.Option(min=0, max=1, help="How far the worst group may be below the baseline's.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="How the model was trained; `compare` goes by it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training; `compare` goes by it.")] = None,
) -> None:
    """Evaluate any model's predictions group by group: accuracy, intervals, gap, and a report.

    Exit codes: 0 done, 1 the result can't be written, 2 an argument or a file is wrong and nothing was written, 3 a
    threshold was missed.
    """
    from model_patching.pipelines.evaluate_predictions import BadPredictions, Columns, evaluate_predictions

    if max_worst_group_drop is not None and baseline is None:
        typer.echo("--max-worst-group-drop: compares with a baseline, give one with --baseline", err=True)
        raise typer.Exit(BAD_INPUT)
    thresholds = {
        "min_worst_group_accuracy": min_worst_group_accuracy,
        "max_subgroup_gap": max_subgroup_gap,
        "max_worst_group_drop": max_worst_group_drop,
    }
    try:
        passed = evaluate_predictions(
            predictions,
            baseline,
            output,
            columns=Columns(label_column, subgroup_column, prediction_column, probability_prefix),
            classes=_names(classes, "--classes"),
            subgroups=_names(subgroups, "--subgroups"),
            thresholds=thresholds,
            method=method,
            seed=seed,
        )
    except BadPredictions as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        raise _cannot_write(error) from None
    raise typer.Exit(DONE if passed else NOT_BLESSED)


@main.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="summary.json of a run, or the folder that holds it.")
    ],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of comparison.html, .json, .md and .png.")
    ] = Path("comparison"),
) -> None:
    """Compare methods by their runs' summary.json: mean ± standard deviation over the seeds.

    Exit codes: 0 done, 1 the result can't be written, 2 a run can't be compared and nothing was written.
    """
    from model_patching.pipelines.compare_runs import (
        WrongRun,
        compare_runs,
        comparison_table,
        write_comparison,
    )
    from model_patching.pipelines.console import print_table

    try:
        methods = compare_runs(runs)
    except WrongRun as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    print_table(comparison_table(methods))
    try:
        paths = write_comparison(methods, output)
    except OSError as error:
        raise _cannot_write(error) from None
    for path in paths:
        typer.echo(path)


@main.command()
def runs(
    root: Root = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of them as JSON.")] = False,
) -> None:
    """List the runs in ML Metadata, the latest first, with their verdict and worst group.

    Exit codes: 0 done, 2 there is no such folder of runs.
    """
    from model_patching.pipelines.find_run import NoSuchRun
    from model_patching.pipelines.past_runs import past_runs, say_runs

    try:
        found = past_runs(root)
    except NoSuchRun as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        say_runs(found)


@main.command()
def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id of a run, `latest`, or a folder that it left.")
    ] = "latest",
    root: Root = Path("runs"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="Show it in a browser.")] = True,
) -> None:
    """Print where a run's report is, and show it.

    Exit codes: 0 done, 2 there is no such run or it has no report.
    """
    from model_patching.pipelines.find_run import NoSuchRun
    from model_patching.pipelines.open_in_browser import open_in_browser
    from model_patching.pipelines.past_runs import find_report

    try:
        path = find_report(root, run)
    except NoSuchRun as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    typer.echo(path)
    if show:
        open_in_browser(path)


@main.command()
def slices(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Id of a run, `latest`, or a folder: of the runs, or an Evaluator's evaluation.",
        ),
    ] = "latest",
    output: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path("slices.html"),
    root: Root = Path("runs"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="Show it in a browser.")] = True,
) -> None:
    """Write TFMA's browser of a run's slices as one HTML file, which needs no network.

    Exit codes: 0 done, 1 the file can't be written, 2 there is no such run or it has no evaluation.
    """
    from model_patching.pipelines.find_run import NoSuchRun
    from model_patching.pipelines.open_in_browser import open_in_browser
    from model_patching.pipelines.slices.write_slices import NoEvaluation, write_slices

    try:
        write_slices(root, run, output)
    except (NoSuchRun, NoEvaluation) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        raise _cannot_write(error) from None
    typer.echo(output)
    if show:
        open_in_browser(output)


@main.command()
def worker(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="<root>/<pipeline>/checkpoints, shared with the first worker."),
    ],
) -> None:
    """Take part in trainings with strategy multi_worker, as a worker that TF_CONFIG gives an index of 1 or more.

    Waits for the trainings of the first worker, which runs the pipelines, and takes part in one after the other until
    it is stopped. A relative `root` of theirs is taken from this command's working directory.

    Exit codes: 1 TF_CONFIG is wrong, 130 interrupted.
    """
    from model_patching.components.robust_trainer.job import serve_jobs

    try:
        serve_jobs(folder)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None


def _names(text: str | None, option: str) -> list[str] | None:
    """Names with commas between; one with a comma in it stands in quotes, as in a CSV file."""
    if text is None:
        return None
    names = next(csv.reader([text], skipinitialspace=True), [])
    if not names or not all(names) or len(set(names)) < len(names):
        typer.echo(f"{option} {text}: give different names with commas between", err=True)
        raise typer.Exit(BAD_INPUT)
    return names


def _cannot_write(error: OSError) -> typer.Exit:
    """Says which file can't be written; the exit to raise."""
    typer.echo(f"{error.filename}: can't be written: {error.strerror}", err=True)
    return typer.Exit(FAILED)


def _load(preset: str, overrides: list[str], root: str | None) -> configuration.PipelineConfig:
    """The checked configuration; ends the command with a line for each mistake."""
    if root is not None:
        overrides = [*overrides, f"root={json.dumps(root)}"]
    try:
        return configuration.load_config(preset, overrides)
    except configuration.ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
