"""Compiled pipelines, as files."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from model_patching.pipelines.kubeflow.api_errors import BadRequest
from model_patching.pipelines.kubeflow.compile_preset import compile_preset
from model_patching.pipelines.kubeflow.settled import is_settled


class Specification(NamedTuple):
    """A compiled pipeline.

    Attributes:
        path: of the file.
        name: of the pipeline.
        parameters: that a run can be given.
    """

    path: Path
    name: str
    parameters: frozenset[str]


def specification(
    pipeline: str, overrides: Sequence[str], folder: Path
) -> tuple[Specification, dict[str, str]]:
    """A compiled pipeline as it is, or one compiled from a preset.

    Args:
        pipeline: a file that `model-patching kubeflow compile` has written; or name of a preset, or path of its file.
        overrides: KEY=VALUE. They are compiled into a preset's pipeline, and given to each run of a compiled one.
        folder: where a preset's pipeline is written to.

    Returns:
        The pipeline, and what its runs are to be given.

    Raises:
        BadRequest: the file can't be read, or an override is of what is compiled into it.
        ConfigError: the preset or an override is wrong.
    """
    found = _read(Path(pipeline))
    if found is None:
        output = folder / "pipeline.yaml"
        compile_preset(pipeline, overrides, output)
        return _read(output), {}
    for override in overrides:
        if is_settled(override):
            raise BadRequest(
                f"--set {override}: is compiled into {pipeline}; compile it again, or give the preset"
            )
    arguments = {"overrides": shlex.join(overrides)} if overrides else {}
    return found, arguments


def check_arguments(found: Specification, arguments: dict[str, str]) -> None:
    """Raises BadRequest for a parameter that the pipeline doesn't have."""
    for name in sorted(arguments.keys() - found.parameters):
        raise BadRequest(
            f"{found.path}: has no parameter {name}; compile it with `model-patching kubeflow compile`"
        )


def _read(path: Path) -> Specification | None:
    """None for a file that is no compiled pipeline, or that isn't there."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return None
    try:
        tree = next(yaml.safe_load_all(path.read_text(encoding="utf-8")), None)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadRequest(f"{path}: can't be read: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict) or "pipelineInfo" not in tree:
        return None
    try:
        name = tree["pipelineInfo"]["name"]
        parameters = tree["root"].get("inputDefinitions", {}).get("parameters", {})
    except (KeyError, TypeError, AttributeError):
        raise BadRequest(f"{path}: is no whole pipeline; compile it again") from None
    return Specification(path, str(name), frozenset(parameters))
