"""The tracker: what W&B leaves, and that nothing that is wrong with W&B gets out of it."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import wandb
from wandb.sdk import wandb_setup
from wandb.sdk.lib.service.service_connection import ServiceConnection
from wandb.sdk.mailbox import MailboxClosedError

from model_patching.components import tracking
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


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the tracker logged; W&B has a log of its own."""
    records = [record for record in caplog.records if record.name == "root"]
    return [record.getMessage() for record in records if record.levelno >= logging.WARNING]


def test_the_nodes_of_a_pipeline_run_are_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "20260101-run")
    tracker = open_tracker(TrackingSettings(mode="offline"), "A", {}, tmp_path)
    assert tracker._run.group == "20260101-run"
    tracker.finish()


def test_two_trackers_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first = open_tracker(TrackingSettings(mode="offline"), "A", {}, tmp_path)
    second = open_tracker(TrackingSettings(mode="offline"), "B", {}, tmp_path)
    use(first)
    use(second)
    written = [file.read_bytes() for file in tmp_path.glob("wandb/offline-run-*/run-*.wandb")]
    assert len(written) == 2 and all(b"worst_group_accuracy" in content for content in written)
    assert not warnings(caplog)


def test_what_was_said_is_in_the_file_when_finish_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """W&B's process stands still for a second when it is told to close the file, as it may where much is going on."""
    inform_finish = ServiceConnection.inform_finish

    def stand_still(connection, run_id):
        process = connection._proc._process
        process.send_signal(signal.SIGSTOP)
        threading.Timer(1, process.send_signal, [signal.SIGCONT]).start()
        inform_finish(connection, run_id)

    monkeypatch.setattr(ServiceConnection, "inform_finish", stand_still)
    track(tmp_path, "offline")
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"worst_group_accuracy" in file.read_bytes()


def test_a_process_of_wandbs_that_was_killed_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    inform_finish = ServiceConnection.inform_finish

    def kill(connection, run_id):
        inform_finish(connection, run_id)
        connection._proc._process.kill()

    with monkeypatch.context() as patches:
        patches.setattr(ServiceConnection, "inform_finish", kill)
        track(tmp_path, "offline")
    (warning,) = warnings(caplog)
    assert "going on without it" in warning
    track(tmp_path / "next", "offline")  # with a new process
    assert len(warnings(caplog)) == 1


def process_of_wandbs() -> subprocess.Popen:
    """The process that the open trackers share."""
    connection = wandb_setup.singleton().assert_service()
    return connection._proc._process


def open_offline(directory: Path, name: str = "A") -> Tracker:
    """Opens a tracker whose files go to `directory`."""
    return open_tracker(TrackingSettings(mode="offline"), name, {}, directory)


def test_a_process_of_wandbs_that_dies_in_mid_run_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    tracker = open_offline(tmp_path)
    process_of_wandbs().kill()
    process_of_wandbs().wait()
    use(tracker)
    (warning,) = warnings(caplog)
    assert not warning.endswith(": "), "no reason is given"
    track(tmp_path / "next", "offline")  # with a new process
    (file,) = tmp_path.glob("next/wandb/offline-run-*/run-*.wandb")
    assert b"worst_group_accuracy" in file.read_bytes()
    assert len(warnings(caplog)) == 1


def test_a_process_of_wandbs_that_died_between_runs_costs_one_tracker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    wandb.setup()
    process_of_wandbs().kill()
    process_of_wandbs().wait()
    track(tmp_path / "lost", "offline")
    (warning,) = warnings(caplog)
    assert not warning.endswith(": "), "no reason is given"
    track(tmp_path / "next", "offline")
    (file,) = tmp_path.glob("next/wandb/offline-run-*/run-*.wandb")
    assert b"worst_group_accuracy" in file.read_bytes()
    assert len(warnings(caplog)) == 1


def test_an_error_without_text_is_told_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(**arguments):
        raise MailboxClosedError

    monkeypatch.setattr(wandb, "init", fail)
    track(tmp_path, "offline")
    (warning,) = warnings(caplog)
    assert warning.endswith("going on without it: MailboxClosedError")


def test_the_files_are_whole_where_the_last_tracker_has_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def no_space(values, step):
        raise OSError("no space left on device")

    first = open_offline(tmp_path / "A")
    last = open_offline(tmp_path / "B", "B")
    process = process_of_wandbs()
    last._run.log = no_space
    last.log(0, {"loss": 1.0})
    use(first)
    assert process.poll() is None
    last.finish()
    assert process.returncode == 0
    (file,) = tmp_path.glob("A/wandb/offline-run-*/run-*.wandb")
    assert b"worst_group_accuracy" in file.read_bytes()
    assert len(warnings(caplog)) == 1


def test_a_process_of_wandbs_that_does_not_end_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    inform_finish = ServiceConnection.inform_finish

    def stand_still(connection, run_id):
        inform_finish(connection, run_id)
        connection._proc._process.send_signal(signal.SIGSTOP)

    tracker = open_offline(tmp_path)
    process = process_of_wandbs()
    try:
        with monkeypatch.context() as patches:
            patches.setattr(ServiceConnection, "inform_finish", stand_still)
            patches.setattr(tracking, "TIMEOUT", 0.5)
            use(tracker)
        assert process.returncode is None
        (warning,) = warnings(caplog)
        assert warning.endswith("its process hasn't ended in 0.5 s")
        track(tmp_path / "next", "offline")  # with a new process
        assert len(warnings(caplog)) == 1
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_run_that_is_not_ours_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """As a notebook's, in which the pipeline is run."""
    own = wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True, console="off"))
    track(tmp_path / "ours", "offline")
    own.log({"after_the_pipeline": 1.0})
    own.finish()
    wandb.teardown()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"after_the_pipeline" in file.read_bytes()
    assert not warnings(caplog)


class Run:
    """One of W&B's, as the tracker sees it."""

    def __init__(self, offline: bool, error: str = ""):
        self.offline = offline
        self.error = error

    def log(self, values, step):
        raise OSError(self.error)

    def finish(self):
        if self.error:
            raise OSError(self.error)


@pytest.mark.parametrize(
    ("runs", "ends"),
    [
        ([Run(offline=True)], 1),
        ([Run(offline=False)], 0),
        ([Run(offline=True), Run(offline=False)], 1),
        ([Run(offline=False, error="the process is dead")], 1),
    ],
)
def test_offline_runs_and_failures_end_the_process_and_online_runs_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Run], ends: int
):
    given = iter(runs)
    teardowns = []
    monkeypatch.setattr(wandb, "init", lambda **arguments: next(given))
    monkeypatch.setattr(wandb, "teardown", lambda: teardowns.append("done"))
    for tracker in [open_offline(tmp_path) for _ in runs]:
        assert not teardowns, "another run is open"
        tracker.finish()
    assert len(teardowns) == ends


def test_no_offline_run_where_it_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    tracker = open_tracker(TrackingSettings(mode="offline"), "t", {}, "gs://bucket/runs/model_run")
    assert type(tracker).__name__ == "NoTracker"
    assert set(tmp_path.iterdir()) == before


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
    monkeypatch.setattr(wandb, "init", lambda **arguments: Run(True, "no space left on device"))
    with caplog.at_level(logging.WARNING):
        track(tmp_path, "offline")
    (record,) = caplog.records
    assert "no space left on device" in record.getMessage()
