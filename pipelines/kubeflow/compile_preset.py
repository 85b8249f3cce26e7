"""Compiles a preset for Kubeflow Pipelines. What TFX and TensorFlow say while they load is nobody's concern here."""

import os
from collections.abc import Sequence
from pathlib import Path

from model_patching.pipelines.config import ConfigError, load_config
from model_patching.pipelines.console import output_moved_to, working_on


def compile_preset(preset: str, overrides: Sequence[str], output: Path) -> None:
    """Writes the pipeline of a preset.

    Args:
        preset: its name, or path of a YAML file.
        overrides: KEY=VALUE, compiled into the pipeline.
        output: the file, .yaml or .yml; it is written whole or not at all.

    Raises:
        ConfigError: the configuration is wrong, or can't be compiled for a cluster.
        OSError: the file can't be written.
    """
    config = load_config(preset, overrides, files_are_here=False)
    if config.kubeflow is None:
        raise ConfigError(f"{preset}: kubeflow: is missing; give at least image, root, volume and metadata")
    with output_moved_to(Path(os.devnull)), working_on("loading TFX"):
        from model_patching.pipelines.kubeflow.compile import compile_pipeline

        compile_pipeline(config, config.kubeflow, output)
