"""Settings of the Evaluator: what the model is compared with, and what it must reach to be blessed."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from model_patching.data.settings import Settings

# The gate's tolerance. Accuracies are quotients of counts, and a difference of two may miss the exact decimal by a
# rounding error: 0.8 − 0.7 is above 0.1. No test split is so large that this could hide an example.
ROUNDING = 1e-9

Accuracy = Annotated[float, Field(ge=0, le=1)]


class EvaluatorSettings(Settings):
    """The gate. Everything is measured on the test split.

    Attributes:
        baseline: what the model is compared with: an ERM model trained in the same run, the model that was blessed
            last, or nothing.
        min_worst_group_accuracy: lowest worst-group accuracy that is blessed; null asks for none.
        max_subgroup_gap: largest accuracy difference within a class that is blessed; null asks for none.
        max_worst_group_drop: how far the worst-group accuracy may be below the baseline's.
    """

    baseline: Literal["erm", "last_blessed", "none"] = "last_blessed"
    min_worst_group_accuracy: Accuracy | None = None
    max_subgroup_gap: Accuracy | None = None
    max_worst_group_drop: Accuracy = 0.0

    @model_validator(mode="after")
    def _drop_has_a_baseline(self) -> "EvaluatorSettings":
        if self.baseline == "none" and self.max_worst_group_drop:
            raise ValueError(
                "max_worst_group_drop compares with a baseline: set baseline to erm or last_blessed"
            )
        return self
