"""A working directory for the commands that users type, the toy's run on this machine, and a Python that is warm."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from toy_run import TOY, write_toy_records

from model_patching.pipelines.metadata_store import sqlite_config

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


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory, toy_records, write_records):
    """(summary.json, ML Metadata) of the toy's run by `model-patching run`."""
    folder = tmp_path_factory.mktemp("toy_run")
    records = write_toy_records(folder / "records", toy_records, write_records)
    (folder / "toy.yaml").write_text(f"root: {folder}/runs\n" + TOY.format(records=records))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "WANDB_MODE": "offline"}
    command = [BIN / "model-patching", "run", folder / "toy.yaml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (summary,) = (folder / "runs").glob("*/SubgroupReport/report/*/summary.json")
    store = MetadataStore(sqlite_config(str(folder / "runs" / "metadata.sqlite")))
    return json.loads(summary.read_text()), store


@pytest.fixture(scope="module")
def warm_python(tmp_path_factory):
    """Starts `warm_python.py` in an interpreter; returns its socket, in the folder where its commands run."""
    started = []

    def start(python: str | Path) -> Path:
        path = tmp_path_factory.mktemp("warm") / "socket"
        command = [python, Path(__file__).with_name("warm_python.py"), path]
        server = subprocess.Popen(command, cwd=path.parent)
        started.append(server)
        while not path.exists():
            assert server.poll() is None
            time.sleep(0.1)
        return path

    yield start
    for server in started:
        server.kill()
        server.wait()
