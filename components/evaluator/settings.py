"""Settings of the Evaluator: what the model is compared with, and what it must reach to be blessed."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from model_patching.data.dataset import EXAMPLE_ID, IMAGE, LABEL, PATCHED_IMAGES, SUBGROUP, Groups, Name
from model_patching.data.settings import Settings

# The gate's tolerance. Accuracies are quotients of counts, and a difference of two may miss the exact decimal by a
# rounding error: 0.8 − 0.7 is above 0.1. No test split is so large that this could hide an example.
ROUNDING = 1e-9
# Of a slice's accuracy, which TFMA has from Keras as a float32, and of the difference of two. It could hide an example
# of eight million.
ACCURACY_ROUNDING = 1.2e-7

Accuracy = Annotated[float, Field(ge=0, le=1)]

ALL = "all"  # the slice of all examples
_ALWAYS_SLICED = ({LABEL}, {SUBGROUP}, {LABEL, SUBGROUP})


class EvaluatorSettings(Settings):
    """The gate, and what is measured. Everything is measured on the test split.

    Attributes:
        baseline: what the model is compared with: an ERM model trained in the same run, the model that was blessed
            last, or nothing.
        min_worst_group_accuracy: lowest worst-group accuracy that is blessed; null asks for none.
        max_subgroup_gap: largest accuracy difference within a class that is blessed; null asks for none.
        min_slice_accuracy: lowest accuracy of a slice that is blessed, by the slice's name: a group ("even / zigzag"),
            a class, a subgroup, or "all". A slice without examples isn't blessed.
        max_worst_group_drop: how far the worst-group accuracy may be below the baseline's.
        max_accuracy_drop: how far the accuracy of all examples may be; null asks for nothing.
        max_gap_rise: how far the largest accuracy difference within a class may be above the baseline's; null asks for
            nothing.
        confidence_intervals: TFMA's 95 % intervals of every metric of every slice, by 20 jackknife samples or 20
            bootstrap samples. The intervals of groups' accuracies in the report are there without them.
        slices: further slices, each by one or several features of the records: [[camera], [camera, subgroup]].
    """

    baseline: Literal["erm", "last_blessed", "none"] = "last_blessed"
    min_worst_group_accuracy: Accuracy | None = None
    max_subgroup_gap: Accuracy | None = None
    min_slice_accuracy: dict[str, Accuracy] = {}
    max_worst_group_drop: Accuracy = 0.0
    max_accuracy_drop: Accuracy | None = None
    max_gap_rise: Accuracy | None = None
    confidence_intervals: Literal["none", "jackknife", "poisson_bootstrap"] = "none"
    slices: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _changes_have_a_baseline(self) -> "EvaluatorSettings":
        asked = {
            "max_worst_group_drop": self.max_worst_group_drop > 0,
            "max_accuracy_drop": self.max_accuracy_drop is not None,
            "max_gap_rise": self.max_gap_rise is not None,
        }
        for name, is_asked in asked.items():
            if is_asked and self.baseline == "none":
                raise ValueError(f"{name} compares with a baseline: set baseline to erm or last_blessed")
        return self

    @field_validator("slices")
    @classmethod
    def _slices_are_further_ones(cls, slices: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        seen = list(_ALWAYS_SLICED)
        for features in slices:
            shown = ", ".join(features)
            if len(set(features)) != len(features):
                raise ValueError(f"[{shown}] names a feature twice")
            for name in (IMAGE, PATCHED_IMAGES, EXAMPLE_ID):
                if name in features:
                    raise ValueError(f"[{shown}]: '{name}' differs from record to record")
            if set(features) in seen:
                raise ValueError(f"[{shown}] is there already")
            seen.append(set(features))
        return slices

    def check_groups(self, groups: Groups) -> None:
        """Raises ValueError if `min_slice_accuracy` names a slice that the data set doesn't have."""
        for name in self.min_slice_accuracy:
            slice_group(name, groups)


def slice_group(name: str, groups: Groups) -> tuple[int | None, int | None]:
    """Label and subgroup of the slice with this name, None where it has all of them.

    Raises:
        ValueError: there is no such slice, or several.
    """
    found = [
        key
        for key, slice_name in (
            ((None, None), ALL),
            *(((label, None), class_name) for label, class_name in enumerate(groups.classes)),
            *(((None, subgroup), subgroup_name) for subgroup, subgroup_name in enumerate(groups.subgroups)),
            *(
                (divmod(number, groups.num_subgroups), group_name)
                for number, group_name in enumerate(groups.group_names)
            ),
        )
        if slice_name == name
    ]
    if not found:
        raise ValueError(
            f"evaluation.min_slice_accuracy: there is no slice '{name}'; there are {ALL}, the classes "
            f"{', '.join(groups.classes)}, the subgroups {', '.join(groups.subgroups)}, and groups such as "
            f"'{groups.group_names[0]}'"
        )
    if len(found) > 1:
        raise ValueError(
            f"evaluation.min_slice_accuracy: '{name}' is the name of several slices; rename the class or the subgroup"
        )
    return found[0]
