"""What translators must reach before patches are made with them: bad ones would poison the classifier unnoticed."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from model_patching.data.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Error = Annotated[float, Field(ge=0)]


class TranslationThresholds(Settings):
    """What the translators must reach before patches are made with them; null asks for nothing.

    Each holds for every direction and class. What is measured: `cyclegan_trainer/diagnostics.py`.

    Attributes:
        min_flip_rate: share of the renditions that the probe places in the target subgroup.
        min_class_kept: of the images whose class the probe gets right, the share whose rendition it still gives it.
        max_distance_left: share of the squared distance between the subgroups that the renditions still have.
        max_cycle_error: mean |G(F(x)) - x| on the scale of -1 to 1.
        max_identity_error: mean |F(y) - y| on the same scale.
    """

    min_flip_rate: Share | None = None
    min_class_kept: Share | None = None
    max_distance_left: Error | None = None
    max_cycle_error: Error | None = None
    max_identity_error: Error | None = None


class TranslationRefused(ValueError):
    """A translator doesn't reach a threshold that the configuration sets. The message is one line."""


def check_thresholds(directions: Sequence[dict], thresholds: TranslationThresholds) -> None:
    """Holds each direction and class against the thresholds that are set.

    Raises:
        TranslationRefused: one isn't reached, or something couldn't be measured that one is set for. Of several
            directions that miss the same threshold the worst is named.
    """
    for name, asked in thresholds:
        if asked is None:
            continue
        key = f"translation.{name}"
        bound, measure = name.split("_", 1)  # as in the diagnoses
        for direction in directions:
            if direction[measure] is None:
                raise TranslationRefused(
                    f"{key} can't be checked for {_words(direction)}: {_why_not_measured(direction, measure)}, "
                    f"or set {key} to null"
                )
        sign = 1 if bound == "min" else -1
        worst = min(directions, key=lambda direction: sign * direction[measure])
        if sign * worst[measure] < sign * asked:
            raise TranslationRefused(
                f"{key} is {asked:g}, but {_words(worst)} reaches {worst[measure]:.6g}: look at the sheets; train "
                f"longer or with other settings, or ease {key}"
            )


def _words(direction: dict) -> str:
    return f"{direction['source']} → {direction['target']} of class '{direction['class']}'"


def _why_not_measured(direction: dict, measure: str) -> str:
    """Why a measure is None, and what would help."""
    if measure == "class_kept" and direction["count"]:
        return "the class probe gets no validation image of this group right; train the probes longer"
    if measure == "distance_left" and direction["count"]:
        return (
            "fewer than two validation images are of one of its groups, or the subgroup probe sees no difference "
            "between them; add validation images, train the probes longer"
        )
    subgroup = direction["target" if measure == "identity_error" else "source"]
    return f"the validation split has no example of group '{direction['class']} / {subgroup}'; add some to that split"
