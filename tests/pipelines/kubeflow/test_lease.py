import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from model_patching.pipelines.kubeflow.lease import lease

# Holds the lease again and again, or until it is told to end; says in a file when it begins and ends.
HOLDER = """
import os, sys, time
from pathlib import Path
from model_patching.pipelines.kubeflow.lease import lease
folder, diary, times, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
def note(text):
    with open(diary, "a") as stream:
        stream.write(f"{text} {os.getpid()}\\n")
def lost():
    note("lost")
    os._exit(7)
for _ in range(times):
    with lease(folder, "Node", lost, every=0.05, looks=40):
        note("begins")
        time.sleep(seconds)
        note("ends")
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the lease; all that are left are killed."""
    started = []

    def start(times, seconds):
        arguments = [tmp_path / "lease", tmp_path / "diary", str(times), str(seconds)]
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *arguments], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def diary(tmp_path):
    path = tmp_path / "diary"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_processes_take_turns(holder, tmp_path):
    processes = [holder(5, 0.01) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0] * 3
    notes = diary(tmp_path)
    assert len(notes) == 3 * 5 * 2
    for begins, ends in zip(notes[::2], notes[1::2], strict=True):
        assert (begins[0], ends[0]) == ("begins", "ends") and begins[1] == ends[1]


def test_one_that_works_is_waited_for_and_one_that_was_killed_is_not_for_ever(holder, tmp_path):
    first = holder(1, 600)
    wait_for(lambda: ("begins", str(first.pid)) in diary(tmp_path))
    second = holder(1, 0)
    time.sleep(4)  # longer than a holder may be silent
    assert second.poll() is None and len(diary(tmp_path)) == 1
    first.send_signal(signal.SIGKILL)
    assert second.wait(60) == 0
    said = second.stdout.read().splitlines()
    assert len(said) == 1 and f"Node  is being run by {os.uname().nodename}, process {first.pid}, " in said[0]
    assert diary(tmp_path)[1:] == [("begins", str(second.pid)), ("ends", str(second.pid))]


def test_one_that_stood_still_gives_up_when_it_goes_on(holder, tmp_path):
    first = holder(1, 600)
    wait_for(lambda: diary(tmp_path))
    first.send_signal(signal.SIGSTOP)
    second = holder(1, 600)
    wait_for(lambda: ("begins", str(second.pid)) in diary(tmp_path))
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 7
    assert diary(tmp_path)[-1] == ("lost", str(first.pid)) and second.poll() is None


def test_two_that_find_a_stale_one_do_not_both_take_it(holder, tmp_path):
    folder = tmp_path / "lease"
    folder.mkdir()
    (folder / "000001").write_text("4 gone, process 1")
    processes = [holder(1, 0.2) for _ in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    notes = diary(tmp_path)
    assert [kind for kind, _ in notes] == ["begins", "ends"] * 6
    assert all(begins[1] == ends[1] for begins, ends in zip(notes[::2], notes[1::2], strict=True))


def test_a_failure_releases_it(tmp_path):
    lost = threading.Event()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lease(tmp_path / "lease", "Node", lost.set, looks=10**9):
            raise ZeroDivisionError
    assert not lost.is_set()
    assert [path.read_text().strip() for path in sorted((tmp_path / "lease").iterdir())] == ["released"] * 2
