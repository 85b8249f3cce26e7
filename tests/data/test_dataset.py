import subprocess
import sys

import pytest
from pydantic import ValidationError

from model_patching.data.dataset import Dataset

THREE_BY_TWO = Dataset(classes=("a", "b", "c"), subgroups=("x", "y"), image_shape=(4, 5, 3))


def test_groups_are_numbered_row_by_row():
    assert THREE_BY_TWO.group_names == ("a / x", "a / y", "b / x", "b / y", "c / x", "c / y")
    assert [THREE_BY_TWO.group_index(y, z) for y in range(3) for z in range(2)] == list(range(6))
    assert (THREE_BY_TWO.num_classes, THREE_BY_TWO.num_subgroups, THREE_BY_TWO.num_groups) == (3, 2, 6)


@pytest.mark.parametrize(
    "label, subgroup, message", [(3, 0, "label 3"), (-1, 0, "label -1"), (0, 2, "subgroup 2")]
)
def test_a_group_outside_the_data_set_is_an_error(label, subgroup, message):
    with pytest.raises(ValueError, match=message):
        THREE_BY_TWO.group_index(label, subgroup)


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"classes": ["a"], "subgroups": ["x", "y"], "image_shape": [4, 5, 3]}', "classes"),
        ('{"classes": ["a", "a"], "subgroups": ["x", "y"], "image_shape": [4, 5, 3]}', "must differ"),
        ('{"classes": ["a", ""], "subgroups": ["x", "y"], "image_shape": [4, 5, 3]}', "classes.1"),
        ('{"classes": ["a", "b"], "subgroups": ["x", "y"], "image_shape": [4, 5]}', "image_shape"),
        ('{"classes": ["a", "b"], "subgroups": ["x", "y"], "image_shape": [4, 5, 2]}', "channels"),
        ('{"classes": ["a", "b"], "subgroups": ["x", "y"], "image_shape": [0, 5, 3]}', "image_shape.0"),
        ('{"classes": ["a", "b"], "subgroups": ["x", "y"], "image_shape": [4, 5, 3], "k": 1}', "k"),
    ],
)
def test_bad_descriptions_are_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        Dataset.model_validate_json(text)


def test_json_round_trip():
    assert Dataset.model_validate_json(THREE_BY_TWO.model_dump_json()) == THREE_BY_TWO


def test_importing_it_does_not_import_tensorflow():
    code = "import sys, model_patching.data.dataset; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
