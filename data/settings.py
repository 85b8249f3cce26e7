"""The base of every settings class: strict, immutable, read from JSON."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A node of the settings tree.

    Unknown keys and values of another type are errors. Read one with `model_validate_json`: JSON mode takes
    arrays for tuples and stays strict about everything else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
