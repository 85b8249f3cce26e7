"""The slices of an Evaluator's evaluation, with the names of classes and subgroups in place of their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow_model_analysis as tfma

from model_patching.data.dataset import LABEL, SUBGROUP

# TFMA's file in every evaluation.
EVAL_CONFIG = "eval_config.json"


class NoEvaluation(ValueError):
    """A folder holds no evaluation that TFMA can read. One line that names it."""


@dataclass(frozen=True)
class Slices:
    """What TFMA found on every slice.

    Attributes:
        model: of the model.
        baseline: of the model it was compared with; None without one.
    """

    model: tfma.EvalResult
    baseline: tfma.EvalResult | None


def load_slices(folder: Path, classes: Sequence[str] = (), subgroups: Sequence[str] = ()) -> Slices:
    """Reads an evaluation.

    Args:
        folder: of a ModelEvaluation.
        classes, subgroups: names, by the numbers in the records. Without them, slices keep the numbers.

    Raises:
        NoEvaluation: there is none, or it can't be read.
    """
    if not (folder / EVAL_CONFIG).is_file():
        raise NoEvaluation(f"{folder}: no evaluation of TFMA's, it has no {EVAL_CONFIG}")
    names = {LABEL: classes, SUBGROUP: subgroups}
    try:
        model = tfma.load_eval_result(str(folder))
        baselines = [spec.name for spec in model.config.model_specs if spec.is_baseline]
        return Slices(
            model=_named(model, names),
            baseline=_named(tfma.load_eval_result(str(folder), model_name=baselines[0]), names)
            if baselines
            else None,
        )
    # TFMA and TensorFlow raise what they like about files that are damaged.
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        raise NoEvaluation(f"{folder}: the evaluation can't be read: {first_line}") from error


def _named(result: tfma.EvalResult, names: Mapping[str, Sequence[str]]) -> tfma.EvalResult:
    def name(feature: str, value: object) -> object:
        known = names.get(feature, ())
        return known[value] if isinstance(value, int) and value < len(known) else value

    return result._replace(
        slicing_metrics=[
            (tuple((feature, name(feature, value)) for feature, value in slice_key), metrics)
            for slice_key, metrics in result.slicing_metrics
        ]
    )
