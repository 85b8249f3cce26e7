"""`group_metrics` as TFMA metrics: worst-group accuracy, and the subgroup gap, the largest and that of each class.

An `EvalConfig` names them by class and module, so any evaluation, on any Beam runner, can find them. On the overall
slice they are what the gate looks at; on another slice they speak of the groups in that slice.
"""

from model_patching.components.evaluator.group_metrics import group_metrics
from model_patching.components.evaluator.outcomes import OutcomeMetric

WORST_GROUP_ACCURACY = "worst_group_accuracy"
SUBGROUP_GAP = "subgroup_gap"
CLASS_SUBGROUP_GAP = "class_subgroup_gap"


class WorstGroupAccuracy(OutcomeMetric):
    """Lowest accuracy of a group that has examples. NaN, which passes no threshold, if none has."""

    def __init__(
        self, num_classes: int, num_subgroups: int, code_hash: str = "", name: str = WORST_GROUP_ACCURACY
    ):
        """Describes the groups, C = `num_classes` by K = `num_subgroups`; of `code_hash` see `OutcomeMetric`."""
        super().__init__(
            name,
            lambda correct, count, _: group_metrics(correct, count).worst_group_accuracy,
            num_classes,
            num_subgroups,
            code_hash,
        )


class SubgroupGap(OutcomeMetric):
    """Largest difference in accuracy between two groups of one class. NaN if no class has two groups."""

    def __init__(self, num_classes: int, num_subgroups: int, code_hash: str = "", name: str = SUBGROUP_GAP):
        """Takes what `WorstGroupAccuracy` takes."""
        super().__init__(
            name,
            lambda correct, count, _: group_metrics(correct, count).largest_subgroup_gap,
            num_classes,
            num_subgroups,
            code_hash,
        )


class ClassSubgroupGap(OutcomeMetric):
    """Largest difference in accuracy between two groups of each class. NaN for a class without two groups."""

    def __init__(
        self, num_classes: int, num_subgroups: int, code_hash: str = "", name: str = CLASS_SUBGROUP_GAP
    ):
        """Takes what `WorstGroupAccuracy` takes."""
        super().__init__(
            name,
            lambda correct, count, _: group_metrics(correct, count).subgroup_gap,
            num_classes,
            num_subgroups,
            code_hash,
            per_class=True,
        )
