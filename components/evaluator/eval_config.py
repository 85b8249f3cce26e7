"""The TFMA configuration that the Evaluator runs: slices, metrics, confidence intervals, thresholds."""

import json
from collections.abc import Iterable
from typing import Any

from google.protobuf.wrappers_pb2 import BoolValue, DoubleValue
from tensorflow_model_analysis import constants as tfma_constants

# TFMA 0.52 exports these messages at its root only once TFX is imported.
from tensorflow_model_analysis.proto import config_pb2

from model_patching.components.evaluator import prediction_metrics, worst_group
from model_patching.components.evaluator.settings import (
    ACCURACY_ROUNDING,
    ROUNDING,
    EvaluatorSettings,
    slice_group,
)
from model_patching.data.dataset import LABEL, SUBGROUP, Dataset

# The classifier's serving signature: serialized examples [n] → {"probabilities": float32 [n, C]}.
SIGNATURE = "serving_default"
PROBABILITIES = "probabilities"

FEW_THRESHOLDS = 200  # as many as Keras takes

OVERALL = config_pb2.SlicingSpec()


def eval_config(settings: EvaluatorSettings, dataset: Dataset, code_hash: str) -> config_pb2.EvalConfig:
    """Builds the EvalConfig of the Evaluator component.

    It has one model spec. TFX adds the baseline's when it is given a baseline model, and takes the change threshold
    out when not.

    Args:
        settings: the gate, intervals, and further slices.
        dataset: says how many groups there are.
        code_hash: of the Evaluator's source; TFX then evaluates again, and doesn't take its cache, when that changes.
    """
    classes = {"num_classes": dataset.num_classes, "code_hash": code_hash}
    groups = {**classes, "num_subgroups": dataset.num_subgroups}
    config = config_pb2.EvalConfig(
        # Without a type TFMA would first try to load the model as a Keras 2 one.
        model_specs=[
            config_pb2.ModelSpec(
                model_type=tfma_constants.TF_GENERIC,
                signature_name=SIGNATURE,
                label_key=LABEL,
                prediction_key=PROBABILITIES,
            )
        ],
        slicing_specs=[
            OVERALL,
            config_pb2.SlicingSpec(feature_keys=[LABEL]),
            config_pb2.SlicingSpec(feature_keys=[SUBGROUP]),
            config_pb2.SlicingSpec(feature_keys=[LABEL, SUBGROUP]),
            *(config_pb2.SlicingSpec(feature_keys=features) for features in settings.slices),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name="ExampleCount"),
                    config_pb2.MetricConfig(
                        class_name="SparseCategoricalAccuracy",
                        per_slice_thresholds=_accuracy_thresholds(settings, dataset),
                    ),
                    config_pb2.MetricConfig(class_name="SparseCategoricalCrossentropy"),
                    _own_metric(worst_group, "WorstGroupAccuracy", groups, _worst_group_threshold(settings)),
                    _own_metric(worst_group, "SubgroupGap", groups, _gap_threshold(settings)),
                    _own_metric(worst_group, "ClassSubgroupGap", groups),
                    _own_metric(prediction_metrics, "CalibrationError", groups),
                    _own_metric(prediction_metrics, "ClassPrecision", classes),
                    _own_metric(prediction_metrics, "ClassRecall", classes),
                    config_pb2.MetricConfig(class_name="MultiClassConfusionMatrixPlot"),
                ]
            ),
            config_pb2.MetricsSpec(
                binarize=config_pb2.BinarizationOptions(class_ids={"values": binarized(dataset.num_classes)}),
                metrics=_binary_metrics(settings),
            ),
        ],
    )
    if settings.confidence_intervals != "none":
        config.options.compute_confidence_intervals.CopyFrom(BoolValue(value=True))
        config.options.confidence_intervals.method = getattr(
            config_pb2.ConfidenceIntervalOptions, settings.confidence_intervals.upper()
        )
    return config


def binarized(num_classes: int) -> Iterable[int]:
    """The classes that each get an AUC against the rest. Of two classes it is the same for both, so one is enough."""
    return [1] if num_classes == 2 else range(num_classes)


def _binary_metrics(settings: EvaluatorSettings) -> list[config_pb2.MetricConfig]:
    if settings.confidence_intervals == "none":
        return [
            config_pb2.MetricConfig(class_name="AUC"),
            config_pb2.MetricConfig(class_name="CalibrationPlot"),
        ]
    # TFMA computes these for each of 20 samples, and intervals of the confusion matrix at each of AUC's thresholds,
    # which are 10,000 unless given: a minute for a slice. A plot has no intervals.
    return [config_pb2.MetricConfig(class_name="AUC", config=json.dumps({"num_thresholds": FEW_THRESHOLDS}))]


def _own_metric(
    module: Any, class_name: str, config: dict[str, Any], threshold: config_pb2.MetricThreshold | None = None
) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name=class_name,
        module=module.__name__,
        config=json.dumps(config, sort_keys=True),
        per_slice_thresholds=[_of_slice(OVERALL, threshold)] if threshold else [],
    )


def _of_slice(
    spec: config_pb2.SlicingSpec, threshold: config_pb2.MetricThreshold
) -> config_pb2.PerSliceMetricThreshold:
    """TFMA holds every slice to a plain `threshold`; this one is for one slice alone, and asks that it has examples."""
    return config_pb2.PerSliceMetricThreshold(slicing_specs=[spec], threshold=threshold)


def _accuracy_thresholds(
    settings: EvaluatorSettings, dataset: Dataset
) -> list[config_pb2.PerSliceMetricThreshold]:
    thresholds = []
    for name, lowest in settings.min_slice_accuracy.items():
        values = dict(zip((LABEL, SUBGROUP), slice_group(name, dataset), strict=True))
        spec = config_pb2.SlicingSpec(
            feature_values={key: str(value) for key, value in values.items() if value is not None}
        )
        thresholds.append(_of_slice(spec, _at_least(lowest - ACCURACY_ROUNDING)))
    if settings.max_accuracy_drop is not None:
        threshold = config_pb2.MetricThreshold()
        threshold.change_threshold.CopyFrom(_drop(settings.max_accuracy_drop + ACCURACY_ROUNDING))
        thresholds.append(_of_slice(OVERALL, threshold))
    return thresholds


def _worst_group_threshold(settings: EvaluatorSettings) -> config_pb2.MetricThreshold:
    # There is always a lower bound, if only 0: TFX blesses nothing when no threshold is left, and then a gate that
    # compares with the last blessed model could never open for a first one.
    threshold = _at_least((settings.min_worst_group_accuracy or 0.0) - ROUNDING)
    if settings.baseline != "none":
        threshold.change_threshold.CopyFrom(_drop(settings.max_worst_group_drop + ROUNDING))
    return threshold


def _gap_threshold(settings: EvaluatorSettings) -> config_pb2.MetricThreshold | None:
    threshold = config_pb2.MetricThreshold()
    if settings.max_subgroup_gap is not None:
        threshold.value_threshold.upper_bound.value = settings.max_subgroup_gap + ROUNDING
    if settings.max_gap_rise is not None:
        threshold.change_threshold.CopyFrom(
            config_pb2.GenericChangeThreshold(
                absolute=DoubleValue(value=settings.max_gap_rise + ROUNDING),
                direction=config_pb2.MetricDirection.LOWER_IS_BETTER,
            )
        )
    return threshold if threshold.ListFields() else None


def _at_least(lowest: float) -> config_pb2.MetricThreshold:
    return config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound=DoubleValue(value=lowest))
    )


def _drop(largest: float) -> config_pb2.GenericChangeThreshold:
    return config_pb2.GenericChangeThreshold(
        absolute=DoubleValue(value=-largest), direction=config_pb2.MetricDirection.HIGHER_IS_BETTER
    )
