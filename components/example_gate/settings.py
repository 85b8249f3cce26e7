"""Settings of the ExampleGate."""

from typing import Annotated

from pydantic import Field

from model_patching.data.settings import Settings

Count = Annotated[int, Field(ge=1)]


class ExampleGateSettings(Settings):
    """How many examples each group must have in a split for the training to begin.

    Attributes:
        train: at least one, to learn from.
        validation: at least one, since the epoch is selected by the worst group.
        test: 0 lets a group be missing; the report then says nothing of it.
    """

    train: Count = 1
    validation: Count = 1
    test: Annotated[int, Field(ge=0)] = 1
