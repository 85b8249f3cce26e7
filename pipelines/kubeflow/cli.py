"""`model-patching kubeflow`: the pipeline on a cluster. kfp and TFX are loaded only where they are needed."""

from pathlib import Path
from typing import Annotated

import typer

from model_patching.pipelines.config import ConfigError
from model_patching.pipelines.exit_codes import BAD_INPUT, FAILED
from model_patching.pipelines.kubeflow.client_cli import client_app
from model_patching.pipelines.kubeflow.compile_preset import compile_preset
from model_patching.pipelines.require_kfp import require_kfp

kubeflow_app = typer.Typer(help="Run the pipeline on Kubeflow Pipelines.", no_args_is_help=True)
kubeflow_app.add_typer(client_app)


@kubeflow_app.command(name="compile")
def compile_command(
    preset: Annotated[
        str, typer.Argument(metavar="PRESET", help="Name of a preset, or path of a YAML file.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The specification to write.")
    ],
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: --set kubeflow.image=…"),
    ] = [],  # noqa: B006, typer copies it
) -> None:
    """Compile a preset to a pipeline for Kubeflow Pipelines; the settings of the cluster are under `kubeflow`.

    Exit codes: 0 done, 1 the file can't be written, 2 an argument or the configuration is wrong or kfp isn't there.
    """
    if output.suffix not in (".yaml", ".yml"):
        typer.echo(f"--output {output}: must end with .yaml or .yml", err=True)
        raise typer.Exit(BAD_INPUT)
    try:
        require_kfp()
        compile_preset(preset, overrides, output)
    except ConfigError as error:
        typer.echo(error, err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        typer.echo(f"{output}: can't be written: {error.strerror}", err=True)
        raise typer.Exit(FAILED) from None
    typer.echo(output)
