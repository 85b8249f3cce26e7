"""What the Evaluator's settings accept."""

import json

import pytest
from pydantic import ValidationError

from model_patching.components.evaluator.settings import EvaluatorSettings, slice_group
from model_patching.data.dataset import Groups

GROUPS = Groups(classes=("even", "odd"), subgroups=("clean", "zigzag"))


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
        '{"min_slice_accuracy": {"odd": 1.5}}',
        '{"confidence_intervals": "bootstrap"}',
        '{"slices": [[]]}',
        '{"slices": ["camera"]}',
    ],
)
def test_refuses(text):
    with pytest.raises(ValidationError):
        EvaluatorSettings.model_validate_json(text)


@pytest.mark.parametrize(
    "change", [{"max_worst_group_drop": 0.1}, {"max_accuracy_drop": 0.0}, {"max_gap_rise": 0.0}]
)
def test_a_change_needs_a_baseline(change):
    with pytest.raises(
        ValidationError, match=f"{next(iter(change))} compares with a baseline: set baseline to erm or"
    ):
        EvaluatorSettings(baseline="none", **change)


@pytest.mark.parametrize(
    ("slices", "says"),
    [
        ([["camera", "camera"]], r"\[camera, camera\] names a feature twice"),
        ([["example_id"]], "'example_id' differs from record to record"),
        ([["subgroup", "label"]], r"\[subgroup, label\] is there already"),
        ([["camera", "label"], ["label", "camera"]], r"\[label, camera\] is there already"),
    ],
)
def test_slices_that_make_no_sense(slices, says):
    with pytest.raises(ValidationError, match=says):
        EvaluatorSettings.model_validate_json(json.dumps({"slices": slices}))


def test_slices_by_name():
    names = ("all", "odd", "zigzag", "odd / clean")
    assert [slice_group(name, GROUPS) for name in names] == [(None, None), (1, None), (None, 1), (1, 0)]


def test_a_name_that_no_slice_has():
    settings = EvaluatorSettings(min_slice_accuracy={"odd": 0.9, "od": 0.9})
    with pytest.raises(
        ValueError, match="there is no slice 'od'; there are all, the classes even, odd, the subg"
    ):
        settings.check_groups(GROUPS)


def test_a_name_that_two_slices_have():
    groups = Groups(classes=("cat", "dog"), subgroups=("dog", "indoors"))
    with pytest.raises(ValueError, match="'dog' is the name of several slices"):
        slice_group("dog", groups)
