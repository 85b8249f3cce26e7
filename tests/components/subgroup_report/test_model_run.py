"""Reading the trainers' `training.json`."""

import pytest

from model_patching.components.subgroup_report.model_run import read_training


def test_missing_or_broken_training(tmp_path):
    with pytest.raises(ValueError, match="training.json can't be read"):
        read_training(str(tmp_path))
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(ValueError, match="training.json can't be read"):
        read_training(str(tmp_path))
