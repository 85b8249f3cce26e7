"""A node whose store goes away while it works. In one process, as importing TFX takes half a minute."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.compiler.compiler import Compiler
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.types import standard_artifacts

from model_patching.pipelines.errors import NodeFailed
from model_patching.pipelines.kubeflow import ir, node, patient_metadata
from model_patching.pipelines.metadata_store import PASSWORD, StoreAway, StoreError, connection_config


@tfx.dsl.components.component
def Trainer(
    server: Parameter[int], fails: Parameter[int], model: OutputArtifact[standard_artifacts.Model]
) -> None:
    """Leaves a model, and takes the store away before TFX can hear of it."""
    Path(model.uri, "weights").write_text("trained")
    model.set_int_custom_property("steps", 7)
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
    if fails:
        raise RuntimeError("out of memory")


class Run:
    """A run of one node, with ML Metadata in MariaDB.

    Attributes:
        said: the lines that a person saw.
    """

    def __init__(self, folder, mariadb, name, monkeypatch):
        self.said = []
        self.url = mariadb.url(name)
        self._folder, self._name, self._mariadb = folder, name, mariadb
        monkeypatch.setattr(node, "say", self.said.append)
        monkeypatch.setattr(patient_metadata, "say", self.said.append)
        monkeypatch.setattr(patient_metadata, "EVERY", 0)
        monkeypatch.setenv(PASSWORD, mariadb.password)
        monkeypatch.setenv("WANDB_RUN_GROUP", "")  # restored afterwards

    def launch(self, fails=False):
        trainer = Trainer(server=self._mariadb.process.pid, fails=int(fails))
        pipeline = tfx.dsl.Pipeline(
            pipeline_name=self._name,
            pipeline_root=f"{self._folder}/toy",
            components=[trainer],
            enable_cache=True,
        )
        (self._folder / "ir.json").write_text(ir.to_json(Compiler().compile(pipeline)))
        node.launch(f"{self._folder}/ir.json", "Trainer", f"run of {self._name}", self.url)


@pytest.fixture
def run(request, tmp_path, mariadb, monkeypatch):
    yield Run(tmp_path, mariadb, request.node.name[:40], monkeypatch)
    if mariadb.process.poll() is not None:
        mariadb.start()


def test_it_waits_until_the_store_is_back(run, mariadb, monkeypatch):
    def say(text):
        run.said.append(text)
        mariadb.process.poll()
        mariadb.start()

    monkeypatch.setattr(patient_metadata, "say", say)
    run.launch()
    (line,) = run.said
    assert "Trainer  ML Metadata on MySQL at host " in line
    assert line.endswith(": can't be reached: Connection refused; waiting for it, 10 minutes at most")
    store = MetadataStore(connection_config(run.url))
    (execution,) = store.get_executions()
    assert execution.last_known_state == metadata_store_pb2.Execution.COMPLETE
    (artifact,) = store.get_artifacts()
    assert (
        artifact.state == metadata_store_pb2.Artifact.LIVE
        and artifact.custom_properties["steps"].int_value == 7
    )
    assert Path(artifact.uri, "weights").read_text() == "trained"


def test_a_store_that_stays_away_is_given_up(run, monkeypatch):
    monkeypatch.setattr(patient_metadata, "PATIENCE", 0)
    with pytest.raises(StoreAway, match="can't be reached: Connection refused"):
        run.launch()
    assert run.said == []


def test_a_node_that_fails_while_the_store_is_away_says_its_own_reason(run, monkeypatch, caplog):
    monkeypatch.setattr(patient_metadata, "PATIENCE", 0)
    with pytest.raises(NodeFailed) as caught:
        run.launch(fails=True)
    assert caught.value.reason == "RuntimeError: out of memory"
    assert "in Trainer" in caplog.text  # its own traceback


def test_a_store_that_refuses_is_not_waited_for(run, monkeypatch):
    monkeypatch.setenv(PASSWORD, "wrong")
    monkeypatch.setattr(patient_metadata, "PATIENCE", 1)
    with (
        pytest.raises(StoreError, match="doesn't let it in"),
        patient_metadata.PatientMetadata(run.url, "Trainer"),
    ):
        pass
    assert run.said == []


ENTER = """
import sys
from model_patching.pipelines import metadata_store
try:
    metadata_store.check_store(sys.argv[1], patience=0)
except metadata_store.StoreError as error:
    print(error)
"""


def test_a_frozen_server_is_one_that_cannot_be_reached(run, mariadb):
    """ML Metadata itself would wait for it for ever, and let no thread run: so in a process of its own."""
    mariadb.process.send_signal(signal.SIGSTOP)
    done = subprocess.run([sys.executable, "-c", ENTER, run.url], capture_output=True, text=True, timeout=60)
    mariadb.process.send_signal(signal.SIGCONT)
    assert done.returncode == 0 and "can't be reached: timed out" in done.stdout
