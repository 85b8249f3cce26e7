"""Processes that stand in for containers: cold as they stand, warm by `warm_python.py`, killed once."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path


class Cold:
    """Starts a command as it stands in the specification."""

    def __init__(self, command: list[str], environment: dict[str, str], output: Path):
        with open(output, "a") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.pid = self._process.pid

    def code(self) -> int | None:
        return self._process.poll()


class Warm:
    """Has a command started by `warm_python.py`."""

    def __init__(self, server: Path, command: list[str], environment: dict[str, str], output: Path):
        request = {"command": command, "environment": environment, "output": str(output)}
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(server))
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self._answers = self._connection.makefile()
        self.pid = int(self._answers.readline())
        self._connection.setblocking(False)
        self._code = None

    def code(self) -> int | None:
        if self._code is None:
            with contextlib.suppress(BlockingIOError):
                answer = self._connection.recv(100)
                self._code = int(answer) if answer else 1
        return self._code


class KillOnce:
    """Kills a trainer once its first checkpoint has given way to later ones, and watches which it writes then.

    Attributes:
        at_kill: the oldest checkpoint that was there: one that goes on writes none before, one that begins anew does.
        later: those that were there afterwards.
    """

    def __init__(self, step: str, checkpoints: Callable[[], Iterable[str | Path]]):
        """Takes a step's name and what finds `0-1/ckpt-*.index`, its checkpoints, where it writes."""
        self._step, self._checkpoints = step, checkpoints
        self.at_kill: int | None = None
        self.later: set[int] = set()

    def __call__(self, step: str, process) -> None:
        if step != self._step:
            return
        written = self._written()
        if self.at_kill is None and min(written, default=0) > 2:
            os.kill(process.pid, signal.SIGKILL)
            while process.code() is None:
                time.sleep(0.01)
            self.at_kill = min(self._written())
        elif self.at_kill is not None:
            self.later |= written

    def _written(self) -> set[int]:
        """The checkpoints' numbers; none while the trainer, which is done, removes their folder."""
        with contextlib.suppress(FileNotFoundError):
            return {int(Path(path).stem.split("-")[1]) for path in self._checkpoints()}
        return set()
