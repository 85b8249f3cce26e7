"""Inputs that as many nodes give to a component as the pipeline has of them: `model_0`, `model_1`, …

One input that is a union of their channels would do for TFX's runners but KubeflowV2DagRunner, which knows no unions.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def with_numbered_inputs(spec_class: type, name: str, parameter: Any, count: int) -> type:
    """A component's specification with further inputs.

    Args:
        spec_class: a ComponentSpec.
        name: of the inputs, before their numbers.
        parameter: a ChannelParameter, what each of them takes.
        count: how many there are.
    """
    inputs = {**spec_class.INPUTS, **dict.fromkeys(_keys(name, count), parameter)}
    return type(spec_class.__name__, (spec_class,), {"INPUTS": inputs})


def number(name: str, channels: Sequence[Any]) -> dict[str, Any]:
    """The channels by the keys of their inputs, as arguments of the specification."""
    return dict(zip(_keys(name, len(channels)), channels, strict=True))


def numbered(inputs: Mapping[str, list[Any]], name: str) -> list[Any]:
    """The artifacts that an executor has got by these inputs, in their order."""
    count = sum(key.removeprefix(f"{name}_").isdigit() for key in inputs)
    return [artifact for key in _keys(name, count) for artifact in inputs[key]]


def _keys(name: str, count: int) -> list[str]:
    return [f"{name}_{number}" for number in range(count)]
