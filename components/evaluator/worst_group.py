"""`group_metrics` as TFMA metrics: worst-group accuracy and the largest subgroup gap.

An `EvalConfig` names them by class and module, so any evaluation, on any Beam runner, can find them. On the overall
slice they are what the gate looks at; on another slice they speak of the groups in that slice.
"""

from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from model_patching.components.evaluator.group_metrics import GroupMetrics, group_metrics
from model_patching.data.dataset import EXAMPLE_ID, SUBGROUP

WORST_GROUP_ACCURACY = "worst_group_accuracy"
SUBGROUP_GAP = "subgroup_gap"

# TFMA leaves metrics whose name starts with an underscore out of its results once those that need them are derived.
_GROUP_COUNTS = "_group_counts"


class _GroupMetric(tfma.metrics.Metric):
    """A metric derived from the examples, and the correct ones, of every group."""

    def __init__(
        self,
        name: str,
        from_groups: Callable[[GroupMetrics], float],
        num_classes: int,
        num_subgroups: int,
        code_hash: str,
    ):
        def computations(
            eval_config: config_pb2.EvalConfig, model_names: list[str], **config
        ) -> tfma.metrics.MetricComputations:
            result = []
            for model_name in model_names:
                counts = tfma.metrics.MetricKey(name=_GROUP_COUNTS, model_name=model_name)
                result.append(_count_groups(counts, num_classes, num_subgroups, eval_config))
                result.append(_derive(counts, name, from_groups))
            return result

        super().__init__(
            computations, name=name, num_classes=num_classes, num_subgroups=num_subgroups, code_hash=code_hash
        )


class WorstGroupAccuracy(_GroupMetric):
    """Lowest accuracy of a group that has examples. NaN, which passes no threshold, if none has."""

    def __init__(
        self, num_classes: int, num_subgroups: int, code_hash: str = "", name: str = WORST_GROUP_ACCURACY
    ):
        """Describes the groups, C = `num_classes` by K = `num_subgroups`.

        `code_hash` takes no part in the computing: TFX caches an evaluation under its EvalConfig, and this makes the
        metrics' source part of it.
        """
        super().__init__(
            name, lambda groups: groups.worst_group_accuracy, num_classes, num_subgroups, code_hash
        )


class SubgroupGap(_GroupMetric):
    """Largest difference in accuracy between two groups of one class. NaN if no class has two groups."""

    def __init__(self, num_classes: int, num_subgroups: int, code_hash: str = "", name: str = SUBGROUP_GAP):
        """Takes what `WorstGroupAccuracy` takes."""
        super().__init__(
            name, lambda groups: groups.largest_subgroup_gap, num_classes, num_subgroups, code_hash
        )


def _count_groups(
    key: tfma.metrics.MetricKey, num_classes: int, num_subgroups: int, eval_config: config_pb2.EvalConfig
) -> tfma.metrics.MetricComputation:
    return tfma.metrics.MetricComputation(
        keys=[key],
        preprocessors=[_Outcome(key.model_name, num_classes, num_subgroups, eval_config)],
        combiner=_GroupCounts(key, num_classes, num_subgroups),
    )


def _derive(
    counts: tfma.metrics.MetricKey, name: str, from_groups: Callable[[GroupMetrics], float]
) -> tfma.metrics.DerivedMetricComputation:
    key = tfma.metrics.MetricKey(name=name, model_name=counts.model_name)

    def result(metrics: dict) -> dict:
        correct, count = metrics[counts]
        return {key: from_groups(group_metrics(correct, count))}

    return tfma.metrics.DerivedMetricComputation(keys=[key], result=result)


class _Outcome(tfma.metrics.Preprocessor):
    """Example → (label, subgroup, whether the model is right). Runs once an example, before it goes to its slices.

    A label or subgroup that the data set doesn't have is a ValueError that names the example.
    """

    def __init__(
        self, model_name: str, num_classes: int, num_subgroups: int, eval_config: config_pb2.EvalConfig
    ):
        super().__init__(name=f"outcome_{model_name}")
        self._model_name = model_name
        self._num_classes = num_classes
        self._num_subgroups = num_subgroups
        self._eval_config = eval_config

    def process(self, extracts: tfma.types.Extracts) -> Iterator[tuple[int, int, bool]]:
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
        yield label, subgroup, int(np.argmax(probabilities)) == label


class _GroupCounts(beam.CombineFn):
    """Outcomes → int64 [2, C, K]: the correct examples of each group, and all of them."""

    def __init__(self, key: tfma.metrics.MetricKey, num_classes: int, num_subgroups: int):
        self._key = key
        self._shape = (2, num_classes, num_subgroups)

    def create_accumulator(self) -> np.ndarray:
        return np.zeros(self._shape, np.int64)

    def add_input(self, accumulator: np.ndarray, outcome: tuple[int, int, bool]) -> np.ndarray:
        label, subgroup, is_correct = outcome
        accumulator[0, label, subgroup] += is_correct
        accumulator[1, label, subgroup] += 1
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        return np.sum(list(accumulators), axis=0)

    def extract_output(self, accumulator: np.ndarray) -> dict[tfma.metrics.MetricKey, np.ndarray]:
        return {self._key: accumulator}
