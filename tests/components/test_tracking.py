"""The tracker: what W&B leaves, and that nothing that is wrong with W&B gets out of it."""

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_patching.components.tracking import Tracker, TrackingSettings, open_tracker


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user who isn't logged in, whoever runs the tests."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home" / "wandb"))
    (tmp_path / "home").mkdir()


def use(tracker: Tracker) -> None:
    """Calls every function."""
    for step in range(3):
        tracker.log(step, {"loss": 1.0 / (step + 1)})
    tracker.image(3, "grey", np.zeros((8, 8, 1), np.uint8))
    tracker.image(3, "color", np.full((8, 8, 3), 255, np.uint8))
    tracker.table(3, "groups", ["group", "accuracy"], [["odd / zigzag", 0.9], ["odd / clean", None]])
    tracker.summary({"worst_group_accuracy": 0.9})
    tracker.finish()


def track(directory: Path, mode: str = "auto") -> None:
    """Opens a tracker and uses it."""
    settings = TrackingSettings.model_validate_json(f'{{"mode": "{mode}"}}')
    use(open_tracker(settings, "RobustTrainer", {"epochs": 2}, directory))


def test_the_nodes_of_a_pipeline_run_are_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "20260101-run")
    tracker = open_tracker(TrackingSettings(mode="offline"), "A", {}, tmp_path)
    assert tracker._run.group == "20260101-run"
    tracker.finish()


def test_two_trackers_at_once(tmp_path: Path):
    first = open_tracker(TrackingSettings(mode="offline"), "A", {}, tmp_path)
    second = open_tracker(TrackingSettings(mode="offline"), "B", {}, tmp_path)
    use(first)
    use(second)
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_disabled_writes_nothing(tmp_path: Path):
    track(tmp_path / "none", "disabled")
    assert not (tmp_path / "none" / "wandb").exists()


def test_wandb_mode_decides_where_the_settings_leave_it_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    track(tmp_path)
    assert not list(tmp_path.glob("wandb/*run-*"))
    track(tmp_path, "offline")
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1


def test_a_user_who_is_logged_in_is_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wandb = pytest.importorskip("wandb")
    modes = []
    monkeypatch.setattr(wandb, "init", lambda **arguments: modes.append(arguments["mode"]))
    (tmp_path / "home" / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {'a' * 40}\n")
    open_tracker(TrackingSettings(), "A", {}, tmp_path)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")  # the key is for another server
    open_tracker(TrackingSettings(), "A", {}, tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "b" * 40)
    open_tracker(TrackingSettings(), "A", {}, tmp_path)
    assert modes == ["online", "offline", "online"]


def run_alone(directory: Path, **environment: str) -> str:
    """Uses a tracker in a process of its own, which must end well and soon; returns what it has logged.

    W&B reads some of its environment only once, and has a hand in how a process ends.
    """
    script = (
        "import importlib.util, logging, pathlib, sys; logging.basicConfig(format='%(levelname)s %(message)s');"
        f"spec = importlib.util.spec_from_file_location('tests', {__file__!r});"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module);"
        f"module.track(pathlib.Path({str(directory)!r})); print('went on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,  # far above what it takes: without a limit, W&B tries for hours
    )
    assert done.stdout == "went on\n"
    return done.stderr


def test_without_an_account_it_is_offline_and_the_files_are_there(tmp_path: Path):
    # In a process of its own: W&B may write for a moment after `finish`, but not after the process.
    assert "WARNING" not in run_alone(tmp_path / "new")
    (run,) = (tmp_path / "new" / "wandb").glob("offline-run-*")
    (record,) = run.glob("run-*.wandb")
    written = record.read_bytes()
    assert b"RobustTrainer" in written
    assert b"worst_group_accuracy" in written
    assert len(list((run / "files" / "media" / "images").glob("*.png"))) == 2
    (table,) = (run / "files" / "media" / "table").glob("groups*.json")
    written = json.loads(table.read_text())
    assert written["columns"] == ["group", "accuracy"]
    assert written["data"] == [["odd / zigzag", 0.9], ["odd / clean", None]]
    links = [path for path in (tmp_path / "new").rglob("*") if path.is_symlink() and path.is_dir()]
    assert not links, "TensorFlow, which removes a failed node's folder, can't remove links to folders"


def test_a_server_that_is_down_costs_one_warning(tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        # Bound, but nobody listens: connections are refused.
        told = run_alone(
            tmp_path, WANDB_MODE="online", WANDB_BASE_URL=f"http://127.0.0.1:{port}", WANDB_API_KEY="a" * 40
        )
    assert told.count("WARNING") == 1


def test_a_server_that_never_answers_costs_one_warning(tmp_path: Path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        port = silent.getsockname()[1]
        told = run_alone(
            tmp_path, WANDB_MODE="online", WANDB_BASE_URL=f"http://127.0.0.1:{port}", WANDB_API_KEY="a" * 40
        )
    assert told.count("WARNING") == 1


@pytest.mark.parametrize("environment", [{"WANDB_MODE": "nonsense"}, {"WANDB_API_KEY": "too-short"}])
def test_a_wrong_environment_costs_one_warning(tmp_path: Path, environment: dict[str, str]):
    assert run_alone(tmp_path, **environment).count("WARNING") == 1


def test_a_missing_installation_costs_one_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with caplog.at_level(logging.WARNING):
        track(tmp_path)
    assert len(caplog.records) == 1


def test_a_failure_in_the_middle_costs_one_warning(tmp_path, monkeypatch, caplog):
    class Run:
        def log(self, values, step):
            raise OSError("no space left on device")

    wandb = pytest.importorskip("wandb")
    monkeypatch.setattr(wandb, "init", lambda **arguments: Run())
    with caplog.at_level(logging.WARNING):
        track(tmp_path, "offline")
    (record,) = caplog.records
    assert "no space left on device" in record.getMessage()
