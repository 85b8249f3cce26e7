"""Reads what the Evaluator wrote: the examples of each group, and how many each model got right."""

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.writers import eval_config_writer

from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.subgroup_report.tfma_values import value_of
from model_patching.data.dataset import LABEL, SUBGROUP, Dataset


def read_evaluation(path: str, dataset: Dataset) -> tuple[GroupCounts, GroupCounts | None]:
    """Reads a TFMA result that has the slices label × subgroup, see `components/evaluator/eval_config.py`.

    Args:
        path: folder of the ModelEvaluation artifact.
        dataset: says which groups there are; one without a slice has no examples.

    Returns:
        (the candidate's counts, the baseline's or None).

    Raises:
        ValueError: there is no group slice at all, or a slice is of a group that the data set doesn't have.
    """
    config, *_ = eval_config_writer.load_eval_run(path)
    if len(config.model_specs) == 1:  # TFMA leaves a single model without a name
        return _group_counts(path, "", dataset), None
    return _group_counts(path, tfma.CANDIDATE_KEY, dataset), _group_counts(path, tfma.BASELINE_KEY, dataset)


def _group_counts(path: str, model_name: str, dataset: Dataset) -> GroupCounts:
    counts = GroupCounts(
        correct=np.zeros([dataset.num_classes, dataset.num_subgroups], np.int64),
        count=np.zeros([dataset.num_classes, dataset.num_subgroups], np.int64),
    )
    for slice_key, outputs in tfma.load_eval_result(path, model_name=model_name).slicing_metrics:
        features = dict(slice_key)
        if features.keys() != {LABEL, SUBGROUP}:
            continue
        group = int(features[LABEL]), int(features[SUBGROUP])
        dataset.group_index(*group)
        metrics = outputs[""][""]
        count = round(value_of(metrics["example_count"]))
        counts.count[group] = count
        # TFMA keeps the quotient, in float32, which tells whole examples apart up to 8 million in a group.
        counts.correct[group] = round(value_of(metrics["sparse_categorical_accuracy"]) * count)
    if not counts.count.any():
        raise ValueError(f"{path} has no metrics sliced by {LABEL} and {SUBGROUP}: run the Evaluator again")
    return counts
