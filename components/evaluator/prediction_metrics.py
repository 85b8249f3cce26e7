"""TFMA metrics of the predicted class: precision and recall of each class, and the calibration error.

TFMA's own `Precision` and `Recall` of a class take its probability above 0.5 for a prediction, which with three classes
isn't what a classifier predicts, and go through every example once for each class. These follow from TFMA's confusion
matrix, and are scikit-learn's. A calibration error TFMA 0.52 doesn't have.
"""

from collections.abc import Callable

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.multi_class_confusion_matrix_metrics import (
    multi_class_confusion_matrices,
)
from tensorflow_model_analysis.proto import config_pb2

from model_patching.components.evaluator.outcomes import OutcomeMetric, SubKeys, class_keys

PRECISION = "precision"
RECALL = "recall"
CALIBRATION_ERROR = "calibration_error"

_TOP = 0.0  # the class with the highest probability is predicted, however low that is


class _ConfusionMetric(tfma.metrics.Metric):
    """A value for each class from the confusion matrix."""

    def __init__(
        self, name: str, derive: Callable[[np.ndarray], np.ndarray], num_classes: int, code_hash: str
    ):
        def computations(
            eval_config: config_pb2.EvalConfig,
            model_names: list[str],
            sub_keys: SubKeys | None = None,
            **config,
        ) -> tfma.metrics.MetricComputations:
            result = []
            for model_name in model_names:
                result += multi_class_confusion_matrices(
                    thresholds=[_TOP], eval_config=eval_config, model_name=model_name
                )
                keys = [
                    tfma.metrics.MetricKey(name=name, model_name=model_name, sub_key=sub_key)
                    for sub_key in class_keys(sub_keys, num_classes)
                ]
                result.append(_derive(result[-1].keys[-1], keys, derive, num_classes))
            return result

        super().__init__(computations, name=name, num_classes=num_classes, code_hash=code_hash)


class ClassPrecision(_ConfusionMetric):
    """Of the examples predicted to be of a class, the share that is. NaN for a class that is never predicted."""

    def __init__(self, num_classes: int, code_hash: str = "", name: str = PRECISION):
        """Takes the number of classes; of `code_hash` see `OutcomeMetric`."""
        super().__init__(
            name, lambda matrix: _share(matrix.diagonal(), matrix.sum(axis=0)), num_classes, code_hash
        )


class ClassRecall(_ConfusionMetric):
    """Of the examples of a class, the share that is predicted to be. NaN for a class without examples."""

    def __init__(self, num_classes: int, code_hash: str = "", name: str = RECALL):
        """Takes what `ClassPrecision` takes."""
        super().__init__(
            name, lambda matrix: _share(matrix.diagonal(), matrix.sum(axis=1)), num_classes, code_hash
        )


class CalibrationError(OutcomeMetric):
    """Expected calibration error of the predicted class, see `calibration.py`. NaN without examples."""

    def __init__(
        self, num_classes: int, num_subgroups: int, code_hash: str = "", name: str = CALIBRATION_ERROR
    ):
        """Takes what `WorstGroupAccuracy` takes."""
        super().__init__(
            name,
            lambda _, count, calibration: (
                float(np.abs(calibration).sum() / count.sum()) if count.any() else np.nan
            ),
            num_classes,
            num_subgroups,
            code_hash,
        )


def _derive(
    matrices: tfma.metrics.MetricKey,
    keys: list[tfma.metrics.MetricKey],
    derive: Callable[[np.ndarray], np.ndarray],
    num_classes: int,
) -> tfma.metrics.DerivedMetricComputation:
    def result(metrics: dict) -> dict:
        matrix = np.zeros([num_classes, num_classes])  # rows are labels, columns predictions
        # A bootstrap sample may have no example of a slice, and then there is no threshold either.
        for entry, count in metrics[matrices].get(_TOP, {}).items():
            matrix[entry.actual_class_id, entry.predicted_class_id] = count
        values = derive(matrix)
        return {key: float(values[key.sub_key.class_id]) for key in keys}

    return tfma.metrics.DerivedMetricComputation(keys=keys, result=result)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
