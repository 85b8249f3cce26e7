"""What `find_run` finds, and says when it finds nothing; by commands: test_past_runs.py and test_write_slices.py."""

from pathlib import Path

import pytest

from model_patching.pipelines.find_run import NoSuchRun, find_run

RUN_ID = "20261126-100000-000001"
EVALUATION = "birds/Evaluator/evaluation/1"


@pytest.mark.parametrize("where", ["latest", RUN_ID, "", EVALUATION, f"{EVALUATION}/eval_config.json"])
def test_a_run_by_its_id_as_the_latest_by_its_root_an_artifact_and_a_file(evaluated_run, where, tmp_path):
    root = evaluated_run[0]
    named = where in ("latest", RUN_ID)
    found = find_run(root if named else tmp_path, where if named else str(root / where), "ModelEvaluation")
    assert (found.run_id, found.pipeline, found.root) == (RUN_ID, "birds", root)
    # Written elsewhere, and moved here.
    assert found.artifacts["ModelEvaluation"][0].uri == f"/cluster/runs/{EVALUATION}"
    assert found.folder("ModelEvaluation") == root / EVALUATION
    assert found.folder("Model") is None


def test_a_relative_folder_is_found_from_within_the_root(evaluated_run, monkeypatch):
    monkeypatch.chdir(evaluated_run[0] / "birds")
    assert find_run(Path("runs"), "Evaluator/evaluation/1").run_id == RUN_ID


def test_what_isnt_there_is_one_line(evaluated_run, tmp_path):
    root = evaluated_run[0]
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/metadata.sqlite").write_text("no data base" * 99)
    for where, run, needs, says in (
        (root, "nope", None, "nope: no run of this id"),
        (root, "latest", "Model", f"run {RUN_ID} has no Model"),
        (root, str(root / "birds"), None, "no run in"),
        (root, str(tmp_path), None, "no metadata.sqlite in this folder or one above it"),
        (tmp_path, "latest", None, "there is no such file"),
        (tmp_path / "broken", "latest", None, "not ML Metadata's"),
    ):
        with pytest.raises(NoSuchRun) as error:
            find_run(where, run, needs)
        assert says in str(error.value)
        assert "\n" not in str(error.value)
