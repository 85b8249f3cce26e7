"""The slices of an Evaluator's evaluation, with the names of classes and subgroups in place of their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.writers import eval_config_writer

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
        config, *_ = eval_config_writer.load_eval_run(str(folder))
        # Of two models TFMA wants to know which; one alone may have no name.
        found = {
            spec.is_baseline: _named(tfma.load_eval_result(str(folder), model_name=spec.name or None), names)
            for spec in config.model_specs
        }
        return Slices(model=found[False], baseline=found.get(True))
    # TFMA and TensorFlow raise what they like about files that are damaged.
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        raise NoEvaluation(f"{folder}: the evaluation can't be read: {first_line}") from error


def _named(result: tfma.EvalResult, names: Mapping[str, Sequence[str]]) -> tfma.EvalResult:
    def name(feature: str, value: object) -> object:
        known = names.get(feature, ())
        return known[value] if isinstance(value, int) and 0 <= value < len(known) else value

    return result._replace(
        slicing_metrics=[
            (
                tuple((feature, name(feature, value)) for feature, value in slice_key),
                {"": {"": _with_classes(metrics[""], names[LABEL])}},
            )
            for slice_key, metrics in result.slicing_metrics
        ]
    )


def _with_classes(metrics: Mapping[str, Mapping[str, object]], classes: Sequence[str]) -> dict[str, object]:
    """Metrics of one class under a name that says which; TFMA has them under "classId:0".

    TFMA's browser shows nothing where some metrics are of a class and others aren't, until a class is chosen.
    """
    found = dict(metrics[""])
    for sub_key, values in metrics.items():
        if sub_key:
            label = int(sub_key.removeprefix("classId:"))
            of = classes[label] if label < len(classes) else f"class {label}"
            found.update({f"{metric} of {of}": value for metric, value in values.items()})
    return found
