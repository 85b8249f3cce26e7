"""A working directory for the commands that users type."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

BIN = Path(sys.executable).parent


class Workspace:
    """Runs commands in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "WANDB_MODE": "offline",
        }
        # Another test's tracker may still be there, and a user's run wouldn't find it.
        self.environment.pop("WANDB_SERVICE", None)
        self.started: list[subprocess.Popen] = []

    def start(self, *command: str, output: int | IO = subprocess.PIPE) -> subprocess.Popen:
        """Starts a command and doesn't wait for it; output as text."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *command: str) -> tuple[int, str]:
        """Runs a command to its end; returns its exit code and output."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=800)
        return process.returncode, output

    def latest(self, node: str, output: str) -> Path:
        """Folder of the newest artifact of a node's output."""
        folder = self.folder / "runs" / "model_patching" / node / output
        return max(folder.iterdir(), key=lambda path: int(path.name))


@pytest.fixture
def two_addresses() -> list[str]:
    """Two free ports of this machine."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


@pytest.fixture
def make_workspace(tmp_path):
    """A working directory by its name; what was started in it doesn't outlive the test."""
    made = []

    def make(name: str) -> Workspace:
        folder = tmp_path / name
        folder.mkdir()
        made.append(Workspace(folder))
        return made[-1]

    yield make
    for workspace in made:
        for process in workspace.started:
            process.kill()
