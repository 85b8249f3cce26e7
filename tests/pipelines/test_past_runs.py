"""`model-patching runs` and `report`, on ML Metadata written as TFX writes it; on TFX's own: test_run.py."""

import json
import webbrowser
from datetime import datetime

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from typer.testing import CliRunner

from model_patching.pipelines.cli import main

STATES = metadata_store_pb2.Execution


class Store:
    """The runs of a root."""

    def __init__(self, root):
        root.mkdir()
        self.root = root
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.sqlite")
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = MetadataStore(config)
        self.types = {
            name: self.store.put_context_type(metadata_store_pb2.ContextType(name=name))
            for name in ("pipeline", "pipeline_run", "node")
        }
        self.report_types = [
            self.store.put_artifact_type(metadata_store_pb2.ArtifactType(name=name))
            for name in ("SubgroupReport", "model_patching.SubgroupReport")
        ]
        self.node_type = self.store.put_execution_type(metadata_store_pb2.ExecutionType(name="a.Node"))

    def context(self, kind, name):
        found = self.store.get_context_by_type_and_name(kind, name)
        if found is not None:
            return found
        made = metadata_store_pb2.Context(type_id=self.types[kind], name=name)
        (made.id,) = self.store.put_contexts([made])
        return made

    def run(self, run_id, summary=None, failed=None, pipeline="birds"):
        """A run with a report that says `summary`, or that has failed in a node."""
        parent, run = self.context("pipeline", pipeline), self.context("pipeline_run", run_id)
        self.store.put_parent_contexts(
            [metadata_store_pb2.ParentContext(child_id=run.id, parent_id=parent.id)]
        )
        for node, state in (
            ("First", STATES.COMPLETE),
            (failed or "Report", STATES.FAILED if failed else None),
        ):
            execution = metadata_store_pb2.Execution(
                type_id=self.node_type, last_known_state=STATES.COMPLETE if state is None else state
            )
            artifacts = []
            if node == "Report" and summary is not None:
                artifacts = [self.report(int(run_id[-1]), summary)]
            self.store.put_execution(
                execution, artifacts, [parent, run, self.context("node", f"{pipeline}.{node}")]
            )

    def report(self, number, summary):
        folder = self.root / "birds/SubgroupReport/report" / str(number)
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "report.html").touch()
        event = metadata_store_pb2.Event(type=metadata_store_pb2.Event.OUTPUT)
        # The first run is of the time when the type had no namespace.
        type_id = self.report_types[number > 1]
        return metadata_store_pb2.Artifact(type_id=type_id, uri=str(folder)), event


SUMMARY = {
    "method": "camel",
    "seed": 3,
    "blessed": True,
    "worst_group": "landbird / [bold]water",
    "worst_group_accuracy": 0.875,
    "average_accuracy": 0.96,
}


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "runs")
    made.run("20261126-100000-000001", SUMMARY)
    made.run("20261126-110000-000002", SUMMARY | {"blessed": False, "seed": 4})
    made.run("20261126-120000-000003", SUMMARY | {"blessed": None})
    made.run("20261126-130000-000004", failed="Augmenter")
    made.run("20261126-140000-000005", pipeline="others")
    return made


def command(*arguments):
    return CliRunner().invoke(main, arguments)


def test_runs_as_json_the_latest_first(store):
    before = datetime.now()
    result = command("runs", "--root", str(store.root), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert [(run["run_id"][-1], run["pipeline"], run["verdict"], run["seed"]) for run in found] == [
        ("5", "others", "no report", None),
        ("4", "birds", "failed: Augmenter", None),
        ("3", "birds", "not gated", 3),
        ("2", "birds", "not blessed", 4),
        ("1", "birds", "blessed", 3),
    ]
    last = found[-1]
    assert abs((datetime.fromisoformat(last["started"]) - before).total_seconds()) < 600
    assert (last["method"], last["worst_group"]) == ("camel", "landbird / [bold]water")
    assert (last["worst_group_accuracy"], last["average_accuracy"]) == (0.875, 0.96)
    assert last["report"].startswith(f"{store.root}/birds/SubgroupReport/report/")
    assert found[0]["report"] is None


def test_runs_as_a_table(store):
    lines = command("runs", "--root", str(store.root)).output.splitlines()
    (blessed,) = [line for line in lines if "000001" in line]
    for text in (
        "│ camel ",
        "│ blessed ",
        "│ landbird / [bold]water ",
        "│   87.5 % │",
        "96.0 %",
        "report.html │",
    ):
        assert text in blessed


def test_the_report_of_a_run(store):
    for run in ("20261126-110000-000002", f"{store.root}/birds/SubgroupReport/report/2"):
        result = command("report", run, "--root", str(store.root), "--no-open")
        assert (result.exit_code, result.output) == (
            0,
            f"{store.root}/birds/SubgroupReport/report/2/report.html\n",
        )


def test_the_report_is_opened(store, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setenv("BROWSER", "some-browser")
    command("report", "20261126-110000-000002", "--root", str(store.root), "--no-open")
    assert opened == []
    result = command("report", "20261126-110000-000002", "--root", str(store.root))
    assert result.exit_code == 0
    assert opened == [f"file://{store.root}/birds/SubgroupReport/report/2/report.html"]


def test_a_root_that_was_moved(store, tmp_path):
    store.root.rename(tmp_path / "elsewhere")
    result = command("report", "20261126-110000-000002", "--root", str(tmp_path / "elsewhere"), "--no-open")
    assert result.output == f"{tmp_path}/elsewhere/birds/SubgroupReport/report/2/report.html\n"


def test_what_there_is_not(store, tmp_path):
    root = str(store.root)
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/metadata.sqlite").write_text("no database")
    for arguments, says in (
        (["runs", "--root", str(tmp_path)], f"{tmp_path}/metadata.sqlite: there is no such file; give the folder of"),
        (["runs", "--root", str(tmp_path / "wrong")], f"{tmp_path}/wrong/metadata.sqlite: not ML Metadata's: "),
        (["report", "latest", "--root", root], "run 20261126-140000-000005 has no SubgroupReport; the latest that"),
        (["report", "20261126-110000-000007", "--root", root], "did you mean 20261126-110000-000002 or "),
        (["report", "bird", "--root", root], "`model-patching runs` lists them"),
        (["report", str(tmp_path / "wrong"), "--root", root], "metadata.sqlite: not ML Metadata's: "),
    ):  # fmt: skip
        result = command(*arguments)
        assert result.exit_code == 2, arguments
        assert says in result.output and result.output.count("\n") == 1


def test_a_report_that_is_gone(store):
    for file in (store.root / "birds/SubgroupReport/report/2").iterdir():
        file.unlink()
    result = command("report", "20261126-110000-000002", "--root", str(store.root))
    assert result.exit_code == 2
    assert "the report of run 20261126-110000-000002 is gone" in result.output
    found = json.loads(command("runs", "--root", str(store.root), "--json").output)
    assert [(run["verdict"], run["report"]) for run in found][3] == ("report is gone", None)
