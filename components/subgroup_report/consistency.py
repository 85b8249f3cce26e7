"""The block `consistency` of `summary.json`: how often predictions change with the subgroup an image is shown in."""

from typing import TYPE_CHECKING, Any

import numpy as np

from model_patching.components.evaluator.group_metrics import wilson_interval
from model_patching.data.dataset import Dataset

if TYPE_CHECKING:  # it loads TensorFlow, which predictions from elsewhere don't need
    from model_patching.components.subgroup_report.score import Scores


def build_consistency(scores: "Scores", dataset: Dataset) -> list[dict[str, Any]] | None:
    """How often the prediction changes between an image and its renditions, by group.

    Returns:
        JSON-ready: `{label, subgroup, name, count, changed, share, ci_low, ci_high}` of each group in the order of
        `Dataset.group_index`; `count` images have renditions, and of `changed` of them at least one rendition is
        predicted as another class than the image. 95 % Wilson intervals; None for a group without such images. None in
        place of the list where no image has renditions.
    """
    if not scores.rendered.any():
        return None
    low, high = wilson_interval(scores.changed, scores.rendered)
    rows = []
    for label, subgroup in np.ndindex(scores.rendered.shape):
        count, changed = int(scores.rendered[label, subgroup]), int(scores.changed[label, subgroup])
        rows.append(
            {
                **group_keys(label, subgroup, dataset),
                "count": count,
                "changed": changed,
                "share": changed / count if count else None,
                "ci_low": float(low[label, subgroup]) if count else None,
                "ci_high": float(high[label, subgroup]) if count else None,
            }
        )
    return rows


def group_keys(label: int, subgroup: int, dataset: Dataset) -> dict[str, Any]:
    """The keys that every block of a group begins with."""
    name = dataset.group_names[dataset.group_index(label, subgroup)]
    return {"label": label, "subgroup": subgroup, "name": name}
