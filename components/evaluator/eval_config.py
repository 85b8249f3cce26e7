"""The TFMA configuration that the Evaluator runs: slices by class and subgroup, metrics, thresholds."""

import json
from typing import Any

from google.protobuf.wrappers_pb2 import DoubleValue
from tensorflow_model_analysis import constants as tfma_constants

# TFMA 0.52 exports these messages at its root only once TFX is imported.
from tensorflow_model_analysis.proto import config_pb2

from model_patching.components.evaluator import worst_group
from model_patching.components.evaluator.settings import ROUNDING, EvaluatorSettings
from model_patching.data.dataset import LABEL, SUBGROUP, Dataset

# The classifier's serving signature: serialized examples [n] → {"probabilities": float32 [n, C]}.
SIGNATURE = "serving_default"
PROBABILITIES = "probabilities"


def eval_config(settings: EvaluatorSettings, dataset: Dataset, code_hash: str) -> config_pb2.EvalConfig:
    """Builds the EvalConfig of the Evaluator component.

    It has one model spec. TFX adds the baseline's when it is given a baseline model, and takes the change threshold
    out when not.

    Args:
        settings: the gate.
        dataset: says how many groups there are.
        code_hash: of the Evaluator's source; TFX then evaluates again, and doesn't take its cache, when that changes.
    """
    groups = {
        "num_classes": dataset.num_classes,
        "num_subgroups": dataset.num_subgroups,
        "code_hash": code_hash,
    }
    return config_pb2.EvalConfig(
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
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[LABEL]),
            config_pb2.SlicingSpec(feature_keys=[SUBGROUP]),
            config_pb2.SlicingSpec(feature_keys=[LABEL, SUBGROUP]),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name="ExampleCount"),
                    config_pb2.MetricConfig(class_name="SparseCategoricalAccuracy"),
                    config_pb2.MetricConfig(class_name="SparseCategoricalCrossentropy"),
                    _group_metric("WorstGroupAccuracy", groups, _worst_group_threshold(settings)),
                    _group_metric("SubgroupGap", groups, _gap_threshold(settings)),
                ]
            )
        ],
    )


def _group_metric(
    class_name: str, config: dict[str, Any], threshold: config_pb2.MetricThreshold | None
) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name=class_name,
        module=worst_group.__name__,
        config=json.dumps(config, sort_keys=True),
        # TFMA holds every slice to a plain `threshold`; this one is for the overall slice alone.
        per_slice_thresholds=[
            config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)
        ]
        if threshold
        else [],
    )


def _worst_group_threshold(settings: EvaluatorSettings) -> config_pb2.MetricThreshold:
    # There is always a lower bound, if only 0: TFX blesses nothing when no threshold is left, and then a gate that
    # compares with the last blessed model could never open for a first one.
    lowest = (settings.min_worst_group_accuracy or 0.0) - ROUNDING
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound=DoubleValue(value=lowest))
    )
    if settings.baseline != "none":
        threshold.change_threshold.CopyFrom(
            config_pb2.GenericChangeThreshold(
                absolute=DoubleValue(value=-settings.max_worst_group_drop - ROUNDING),
                direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
            )
        )
    return threshold


def _gap_threshold(settings: EvaluatorSettings) -> config_pb2.MetricThreshold | None:
    if settings.max_subgroup_gap is None:
        return None
    return config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(
            upper_bound=DoubleValue(value=settings.max_subgroup_gap + ROUNDING)
        )
    )
