"""What the Evaluator's settings accept."""

import pytest
from pydantic import ValidationError

from model_patching.components.evaluator.settings import EvaluatorSettings


def test_reads_json_and_round_trips():
    settings = EvaluatorSettings.model_validate_json(
        '{"baseline": "erm", "min_worst_group_accuracy": 0.9, "max_subgroup_gap": 0.1, "max_worst_group_drop": 0.02}'
    )
    assert settings.baseline == "erm"
    assert EvaluatorSettings.model_validate_json(settings.model_dump_json()) == settings


def test_no_baseline_round_trips():
    settings = EvaluatorSettings(baseline="none")
    assert EvaluatorSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    "text",
    [
        '{"baseline": "best"}',
        '{"min_worst_group_accuracy": 1.01}',
        '{"max_subgroup_gap": -0.1}',
        '{"max_worst_group_drop": "0"}',
        '{"min_accuracy": 0.5}',
    ],
)
def test_refuses(text):
    with pytest.raises(ValidationError):
        EvaluatorSettings.model_validate_json(text)


def test_a_drop_needs_a_baseline():
    with pytest.raises(ValidationError, match="set baseline to erm or last_blessed"):
        EvaluatorSettings(baseline="none", max_worst_group_drop=0.1)
