"""Settings that a compiled pipeline has once and for all."""

import re

_SETTLED = ("kubeflow", "pipeline_name", "root", "vertex")


def is_settled(override: str) -> bool:
    """Whether an override, KEY=VALUE, is of a setting that no run can change: steps, storage and names hang on it."""
    return re.split("[.=]", override)[0].strip() in _SETTLED
