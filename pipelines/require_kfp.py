"""Whether kfp is there, which the default environment leaves out."""

import importlib.util

import typer

from model_patching.pipelines.exit_codes import BAD_INPUT


def require_kfp() -> None:
    """Ends the command with a line on standard error, and exit code 2, where kfp isn't installed."""
    try:
        # Of kfp itself: its format of specifications is a package of its own, which the image has without it.
        found = importlib.util.find_spec("kfp.dsl")
    except ModuleNotFoundError:
        found = None
    if found is None:
        typer.echo(
            "kfp isn't installed here: `make kubeflow`, then .venv-kubeflow/bin/model-patching …",
            err=True,
        )
        raise typer.Exit(BAD_INPUT)
