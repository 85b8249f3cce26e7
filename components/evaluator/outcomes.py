"""What TFMA collects of every slice for the metrics of this folder: two small arrays, on any Beam runner."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from model_patching.components.evaluator.calibration import CALIBRATION_BINS, calibration_bin
from model_patching.data.dataset import EXAMPLE_ID, SUBGROUP

# TFMA leaves metrics whose name starts with an underscore out of its results once those that need them are derived.
_GROUP_COUNTS = "_group_counts"
_CALIBRATION = "_calibration_bins"

SubKeys = list[tfma.metrics.SubKey | None]


class OutcomeMetric(tfma.metrics.Metric):
    """A metric derived from what is collected; all of them share the collecting."""

    def __init__(
        self,
        name: str,
        derive: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
        num_classes: int,
        num_subgroups: int,
        code_hash: str,
        per_class: bool = False,
    ):
        """Describes the metric.

        Args:
            name: of the metric.
            derive: from the correct examples and all examples of each group, int64 [C, K], and from the bins'
                confidence − accuracy, float64 [15], to the metric's value; with `per_class` to one for each class, [C].
            num_classes, num_subgroups: C and K.
            code_hash: takes no part in the computing: TFX caches an evaluation under its EvalConfig, and this makes
                the metrics' source part of it.
            per_class: a value for each class, under TFMA's sub key of a class, as TFMA has its own metrics of classes.
        """

        def computations(
            eval_config: config_pb2.EvalConfig,
            model_names: list[str],
            sub_keys: SubKeys | None = None,
            **config,
        ) -> tfma.metrics.MetricComputations:
            result = []
            for model_name in model_names:
                collected = _Collected.of(model_name)
                result.append(_collect(collected, num_classes, num_subgroups, eval_config))
                keys = [
                    tfma.metrics.MetricKey(name=name, model_name=model_name, sub_key=sub_key)
                    for sub_key in (class_keys(sub_keys, num_classes) if per_class else [None])
                ]
                result.append(_derive(collected, keys, derive))
            return result

        super().__init__(
            computations, name=name, num_classes=num_classes, num_subgroups=num_subgroups, code_hash=code_hash
        )


def class_keys(sub_keys: SubKeys | None, num_classes: int) -> list[tfma.metrics.SubKey]:
    """The classes that an EvalConfig asks for by `binarize`; all of them where it doesn't."""
    asked = [sub_key for sub_key in sub_keys or () if sub_key is not None]
    return asked or [tfma.metrics.SubKey(class_id=label) for label in range(num_classes)]


class _Collected(NamedTuple):
    """Keys of what is collected of one model."""

    counts: tfma.metrics.MetricKey  # int64 [2, C, K]: the correct examples of each group, and all of them
    calibration: tfma.metrics.MetricKey  # float64 [15]: sums of confidence − correctness

    @classmethod
    def of(cls, model_name: str) -> "_Collected":
        return cls(
            tfma.metrics.MetricKey(name=_GROUP_COUNTS, model_name=model_name),
            tfma.metrics.MetricKey(name=_CALIBRATION, model_name=model_name),
        )


def _collect(
    keys: _Collected, num_classes: int, num_subgroups: int, eval_config: config_pb2.EvalConfig
) -> tfma.metrics.MetricComputation:
    return tfma.metrics.MetricComputation(
        keys=list(keys),
        preprocessors=[_Outcomes(keys.counts.model_name, num_classes, num_subgroups, eval_config)],
        combiner=_Combiner(keys, num_classes, num_subgroups),
    )


def _derive(
    collected: _Collected,
    keys: list[tfma.metrics.MetricKey],
    derive: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
) -> tfma.metrics.DerivedMetricComputation:
    def result(metrics: dict) -> dict:
        value = derive(*metrics[collected.counts], metrics[collected.calibration])
        return {key: value if key.sub_key is None else float(value[key.sub_key.class_id]) for key in keys}

    return tfma.metrics.DerivedMetricComputation(keys=keys, result=result)


class Outcome(NamedTuple):
    """What a model has come to on one example."""

    label: int
    subgroup: int
    is_correct: bool
    confidence: float  # probability of the predicted class


class _Outcomes(tfma.metrics.Preprocessor):
    """Example → outcome. Runs once an example, before it goes to its slices.

    A label or subgroup that the data set doesn't have is a ValueError that names the example.
    """

    def __init__(
        self, model_name: str, num_classes: int, num_subgroups: int, eval_config: config_pb2.EvalConfig
    ):
        super().__init__(name=f"outcomes_{model_name}")
        self._model_name = model_name
        self._num_classes = num_classes
        self._num_subgroups = num_subgroups
        self._eval_config = eval_config

    def process(self, extracts: tfma.types.Extracts) -> Iterator[Outcome]:
        inputs = tfma.metrics.to_standard_metric_inputs(extracts, include_features=True)
        label, probabilities, _ = next(
            tfma.metrics.to_label_prediction_example_weight(
                inputs, eval_config=self._eval_config, model_name=self._model_name, flatten=False
            )
        )
        label = int(label.item())
        subgroup = int(np.asarray(inputs.features[SUBGROUP]).item())
        if not (0 <= label < self._num_classes and 0 <= subgroup < self._num_subgroups):
            example_id = np.asarray(inputs.features[EXAMPLE_ID]).item().decode()
            raise ValueError(
                f"record '{example_id}' has label {label} and subgroup {subgroup}, but the data set has "
                f"{self._num_classes} classes and {self._num_subgroups} subgroups"
            )
        prediction = int(np.argmax(probabilities))
        yield Outcome(label, subgroup, prediction == label, float(probabilities[prediction]))


class _Combiner(beam.CombineFn):
    """Outcomes → the two arrays of `_Collected`."""

    def __init__(self, keys: _Collected, num_classes: int, num_subgroups: int):
        self._keys = keys
        self._shape = (2, num_classes, num_subgroups)

    def create_accumulator(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(self._shape, np.int64), np.zeros(CALIBRATION_BINS, np.float64)

    def add_input(
        self, accumulator: tuple[np.ndarray, np.ndarray], outcome: Outcome
    ) -> tuple[np.ndarray, np.ndarray]:
        counts, calibration = accumulator
        counts[0, outcome.label, outcome.subgroup] += outcome.is_correct
        counts[1, outcome.label, outcome.subgroup] += 1
        calibration[calibration_bin(outcome.confidence)] += outcome.confidence - outcome.is_correct
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        counts, calibration = zip(*accumulators, strict=True)
        return np.sum(counts, axis=0), np.sum(calibration, axis=0)

    def extract_output(
        self, accumulator: tuple[np.ndarray, np.ndarray]
    ) -> dict[tfma.metrics.MetricKey, np.ndarray]:
        return dict(zip(self._keys, accumulator, strict=True))
