"""`model-patching vertex`: the pipeline on Vertex AI. kfp and TFX are loaded only where they are needed."""

import os
from pathlib import Path
from typing import Annotated

import typer

from model_patching.pipelines.config import ConfigError, load_config
from model_patching.pipelines.console import output_moved_to, working_on
from model_patching.pipelines.exit_codes import BAD_INPUT, FAILED
from model_patching.pipelines.require_kfp import require_kfp

vertex_app = typer.Typer(help="Compile the pipeline for Vertex AI Pipelines.", no_args_is_help=True)


@vertex_app.callback()
def _main() -> None:
    pass  # without it typer takes the one command for all of `vertex`


@vertex_app.command(name="compile")
def compile_command(
    preset: Annotated[
        str, typer.Argument(metavar="PRESET", help="Name of a preset, or path of a YAML file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The job to write.")],
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: --set vertex.image=…"),
    ] = [],  # noqa: B006, typer copies it
) -> None:
    """Compile a preset to a job for Vertex AI Pipelines; its settings are under `vertex`.

    Exit codes: 0 done, 1 the file can't be written, 2 an argument or the configuration is wrong or kfp isn't there.
    """
    if output.suffix != ".json":
        typer.echo(f"--output {output}: must end with .json", err=True)
        raise typer.Exit(BAD_INPUT)
    try:
        require_kfp()
        config = load_config(preset, overrides, files_are_here=False)
        if config.vertex is None:
            raise ConfigError(f"{preset}: vertex: is missing; give at least image and root")
        with output_moved_to(Path(os.devnull)), working_on("loading TFX"):
            from model_patching.pipelines.vertex.compile import compile_pipeline

            compile_pipeline(config, config.vertex, output)
    except ConfigError as error:
        typer.echo(error, err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        typer.echo(f"{output}: can't be written: {error.strerror}", err=True)
        raise typer.Exit(FAILED) from None
    typer.echo(output)
