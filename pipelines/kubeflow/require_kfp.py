"""Whether kfp is there, which the default environment leaves out."""

import importlib.util

import typer

BAD_ARGUMENT = 2


def require_kfp() -> None:
    """Ends the command with a line on standard error, and exit code 2, where kfp isn't installed."""
    if importlib.util.find_spec("kfp") is None:
        typer.echo(
            "kfp isn't installed here: `make kubeflow`, then .venv-kubeflow/bin/model-patching kubeflow …",
            err=True,
        )
        raise typer.Exit(BAD_ARGUMENT)
