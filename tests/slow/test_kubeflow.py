"""The compiled specification, executed: every step's command in a process of its own, as Kubeflow Pipelines would.

What stands in for the cluster knows the specification alone. It is compiled in the environment of `make kubeflow`; the
steps run in the one that an image has.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from processes import Cold, KillOnce, Warm
from toy_run import TOY, write_toy_records

from model_patching.pipelines.metadata_store import connection_config, sqlite_config

# The first test waits for the run on one machine, the specification and a warm Python, too.
pytestmark = pytest.mark.timeout(1800)

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMPILER = REPOSITORY / ".venv-kubeflow" / "bin" / "model-patching"
SETTINGS = (
    "root: {local}\n"
    + TOY
    + """
kubeflow:
  image: model-patching:test
  root: {volume}/runs
  volume: {{claim: shared, mount_path: {volume}}}
  metadata: {{url: "{store}", password: {{secret: mysql, key: password}}}}
  trainers: {{retries: {{count: 1, backoff_seconds: 1}}}}
  environment: {{WANDB_MODE: offline, HOME: {volume}, TF_CPP_MIN_LOG_LEVEL: "2"}}
"""
)


@dataclass
class Step:
    """One step of a run: how it ended, and what it said in all its attempts."""

    log: Path
    codes: list[int] = field(default_factory=list)
    started: float = 0.0
    ended: float = 0.0

    @property
    def text(self) -> str:
        return self.log.read_text()


class Cluster:
    """Executes a specification: steps in the order that it demands, those that need not wait for each other at once.

    A step gets the environment that the specification gives it, the values of its secrets, and the image's PATH.
    """

    def __init__(self, specification: Path, secrets: dict[str, dict[str, str]], folder: Path, start):
        """Takes a compiled specification.

        Args:
            specification: the file.
            secrets: {name: {key: value}}.
            folder: for the steps' outputs and logs.
            start: makes a step's process, of its name, command, environment and the file for its output.
        """
        spec, platform = yaml.safe_load_all(specification.read_text())
        self.tasks = _flat(spec["root"]["dag"]["tasks"], spec["components"])
        self._parameters = spec["root"]["inputDefinitions"]["parameters"]
        self._components = spec["components"]
        self._containers = spec["deploymentSpec"]["executors"]
        self._platform = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self._secrets = secrets
        self.folder = folder
        self.commands = {}  # and environments, of the steps that were started last
        self._start_process = start

    def run(self, during=lambda name, process: None, **parameters: str) -> dict[str, Step]:
        """Runs the pipeline; a step that fails is tried again as often as the specification says, and then no step that
        waits for it runs.

        Args:
            during: called again and again with every step that runs, its task's name and process.
            parameters: of the run.
        """
        run_id = str(uuid4())
        folder = self.folder / run_id
        folder.mkdir(parents=True)
        given = {name: value["defaultValue"] for name, value in self._parameters.items()} | parameters
        steps, running, done, outputs = {}, {}, set(), {}
        failed = False
        while True:
            for name, task in self.tasks.items():
                if not failed and name not in steps and done.issuperset(task.get("dependentTasks", ())):
                    if not _is_due(task, outputs):
                        continue
                    assert task["cachingOptions"] == {}, "TFX decides what comes from the cache"
                    steps[name] = Step(folder / f"{name}.log", started=time.monotonic())
                    running[name] = self._start(name, folder, run_id, given, outputs)
            if not running:
                return steps
            for name, process in list(running.items()):
                during(name, process)
                code = process.code()
                if code is None:
                    continue
                del running[name]
                steps[name].codes.append(code)
                steps[name].ended = time.monotonic()
                if code == 0:
                    done.add(name)
                    for file in (folder / name).glob("*"):
                        outputs[name, file.name] = file.read_text()
                elif len(steps[name].codes) <= self.tasks[name].get("retryPolicy", {}).get(
                    "maxRetryCount", 0
                ):
                    running[name] = self._start(name, folder, run_id, given, outputs)
                else:
                    failed = True
            time.sleep(0.02)

    def _start(self, name: str, folder: Path, run_id: str, given: dict, outputs: dict):
        task = self.tasks[name]
        executor = self._components[task["componentRef"]["name"]]["executorLabel"]
        inputs = {}
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                inputs[key] = given[source["componentInputParameter"]]
            elif "runtimeValue" in source:
                constant = source["runtimeValue"]["constant"]
                inputs[key] = run_id if constant == "{{$.pipeline_job_uuid}}" else constant
            else:
                output = source["taskOutputParameter"]
                inputs[key] = outputs[output["producerTask"], output["outputParameterKey"]]

        def resolve(text: str) -> str:
            text = re.sub(r"{{\$\.inputs\.parameters\['(\w+)'\]}}", lambda found: inputs[found[1]], text)
            return re.sub(
                r"{{\$\.outputs\.parameters\['(\w+)'\]\.output_file}}",
                lambda found: str(folder / name / found[1]),
                text,
            )

        container = self._containers[executor]["container"]
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}"}
        environment |= {variable["name"]: variable["value"] for variable in container.get("env", ())}
        for secret in self._platform[executor].get("secretAsEnv", ()):
            for pair in secret["keyToEnv"]:
                environment[pair["envVar"]] = self._secrets[secret["secretName"]][pair["secretKey"]]
        command = [resolve(argument) for argument in container["command"] + container.get("args", [])]
        self.commands[name] = command, environment
        return self._start_process(name, command, environment, folder / f"{name}.log")


def _flat(tasks: dict, components: dict) -> dict:
    """The steps, with those under a condition among them."""
    found = {}
    for name, task in tasks.items():
        if "triggerPolicy" not in task:
            found[name] = task
            continue
        for inner_name, inner in components[task["componentRef"]["name"]]["dag"]["tasks"].items():
            found[inner_name] = {**task, **inner}
    return found


def _is_due(task: dict, outputs: dict) -> bool:
    """Whether a step's condition, where it has one, holds."""
    if "triggerPolicy" not in task:
        return True
    parameter, value = re.fullmatch(
        r"inputs\.parameter_values\['(.+)'\] == '(.+)'", task["triggerPolicy"]["condition"]
    ).groups()
    source = task["inputs"]["parameters"][parameter]["taskOutputParameter"]
    return outputs[source["producerTask"], source["outputParameterKey"]] == value


def summary_of(steps: dict[str, Step]) -> dict:
    (path,) = re.findall(r"^figures +(.*)$", steps["verdict"].text, re.MULTILINE)
    return json.loads(Path(path).read_text())


def states(steps: dict[str, Step]) -> dict[str, str]:
    """Of the nodes: how each has gone, by its last line."""
    found = {}
    for step in steps.values():
        for mark, name, rest in re.findall(r"^([✓•]) (\w+)  (.*)$", step.text, re.MULTILINE):
            if name != "run" and "earlier attempt" not in rest:
                found[name] = "ran" if mark == "✓" else rest
    return found


def lineage(store: MetadataStore, run: metadata_store_pb2.Context) -> Counter:
    """Every input and output of a run's nodes: (node, "INPUT" or "OUTPUT", key, type of the artifact)."""
    found = Counter()
    types = {kind.id: kind.name for kind in store.get_artifact_types()}
    for execution in store.get_executions_by_context(run.id):
        (node,) = (
            context.name
            for context in store.get_contexts_by_execution(execution.id)
            if context.type == "node"
        )
        for event in store.get_events_by_execution_ids([execution.id]):
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            assert Path(artifact.uri).is_dir()
            kind = metadata_store_pb2.Event.Type.Name(event.type)
            found[node, kind, event.path.steps[0].key, types[artifact.type_id]] += 1
    return found


def runs(store: MetadataStore) -> list[metadata_store_pb2.Context]:
    """In the order in which they began."""
    return sorted(store.get_contexts_by_type("pipeline_run"), key=lambda run: run.id)


@pytest.fixture(scope="module")
def warm(warm_python):
    """Starts commands by a Python that has imported TFX already."""
    server = warm_python(sys.executable)
    return lambda _, command, environment, output: Warm(server, command, environment, output)


@pytest.fixture(scope="module")
def records(tmp_path_factory, toy_records, write_records):
    """(writes the records, as `write_toy_records`; their folder)."""
    folder = tmp_path_factory.mktemp("records")

    def write(swapped: bool) -> None:
        write_toy_records(folder, toy_records, write_records, swapped)

    write(swapped=False)
    return write, folder


def compiled(folder: Path, records: Path, store: str) -> Path:
    """The specification for a volume in a folder, as a user compiles it."""
    if not COMPILER.exists():
        reason = f"{COMPILER} isn't there: make kubeflow"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    (folder / "volume").mkdir()
    settings = SETTINGS.format(local=folder / "local", records=records, volume=folder / "volume", store=store)
    (folder / "toy.yaml").write_text(settings)
    subprocess.run(
        [COMPILER, "kubeflow", "compile", folder / "toy.yaml", "-o", folder / "pipeline.yaml"], check=True
    )
    return folder / "pipeline.yaml"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, records, mariadb, warm):
    """A cluster with ML Metadata in MariaDB, on which nothing has run."""
    folder = tmp_path_factory.mktemp("cluster")
    specification = compiled(folder, records[1], mariadb.url("mlmd"))
    started = set()

    def start(name, command, environment, output):
        # Once for each kind of step the command itself, which takes half a minute longer.
        cold = name.startswith(("prepare", "cyclegantrainer", "verdict")) and name not in started
        started.add(name)
        return (Cold if cold else partial(warm, name))(command, environment, output)

    return Cluster(specification, {"mysql": {"password": mariadb.password}}, folder, start)


@pytest.fixture(scope="module")
def cluster_store(mariadb):
    """Its ML Metadata."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_PATCHING_METADATA_PASSWORD", mariadb.password)
        return MetadataStore(connection_config(mariadb.url("mlmd")))


def test_the_first_run_ends_as_one_on_one_machine_though_a_trainer_is_killed(cluster, cluster_store, toy_run):
    volume = cluster.folder / "volume" / "runs" / "model_patching"
    checkpoints = volume / "checkpoints" / "CycleGANTrainer_0_left"
    kill = KillOnce("cyclegantrainer-0-left", lambda: checkpoints.rglob("0-1/ckpt-*.index"))
    steps = cluster.run(during=kill)
    for name, step in steps.items():
        expected = [-signal.SIGKILL, 0] if name == "cyclegantrainer-0-left" else [0]
        assert step.codes == expected, step.text[-5000:]
    assert set(steps) == set(cluster.tasks) - {"not-blessed"}
    assert "an earlier attempt has not finished" in steps["cyclegantrainer-0-left"].text
    # From scratch it would have written the first ones again.
    assert kill.later and min(kill.later) >= kill.at_kill

    one, other = steps["cyclegantrainer-0-left"], steps["cyclegantrainer-1-right"]
    assert one.started < other.ended and other.started < one.ended
    summary, local_store = toy_run
    found = summary_of(steps)
    for key in ("groups", "worst_group", "average_accuracy", "translation", "blessed"):
        assert found[key] == summary[key], key
    # Here the Pusher and the report run at once.
    assert set(found["timings"]) - {"Pusher"} == set(summary["timings"]) - {"Pusher"}
    assert found["timings"]["RobustTrainer"] > 0
    (run,), (local_run,) = runs(cluster_store), runs(local_store)
    assert lineage(cluster_store, run) == lineage(local_store, local_run)
    assert steps["verdict"].text.strip().splitlines()[-1].startswith("model ")
    assert len(list((volume / "serving").iterdir())) == 1


def test_a_rerun_comes_from_the_cache(cluster):
    steps = cluster.run()
    assert {code for step in steps.values() for code in step.codes} == {0}
    # The baseline is another one now: there is a model that was blessed.
    assert {name for name, state in states(steps).items() if state != "cached"} == {
        "LastBlessedModel",
        "Evaluator",
        "SubgroupReport",
        "Pusher",
    }
    again = cluster.run()
    assert {name for name, state in states(again).items() if state != "cached"} == {"LastBlessedModel"}


def test_a_setting_of_one_run_retrains_what_depends_on_it(cluster):
    steps = cluster.run(overrides="training.epochs=7", run_id="seven")
    assert {name for name, state in states(steps).items() if state != "cached"} == {
        "LastBlessedModel",
        "RobustTrainer",
        "Evaluator",
        "SubgroupReport",
        "Pusher",
    }
    assert summary_of(steps)["run_id"] == "seven"
    again = cluster.run(overrides="training.epochs=7", run_id="seven")
    assert set(states(again).values()) == {"done before in this run"}
    other = cluster.run(overrides="training.epochs=8", run_id="seven")
    assert list(other) == ["prepare"] and other["prepare"].codes == [2]
    assert other["prepare"].text.splitlines()[-1].startswith("run_id: seven is the id of a run with other ")


class Twice:
    """Starts a second process for a step, as Kubernetes does when it has lost a machine that goes on working."""

    def __init__(self, step: str, cluster: Cluster):
        self._step, self._cluster = step, cluster
        self.second = None

    def __call__(self, step: str, process) -> None:
        if step == self._step and self.second is None:
            command, environment = self._cluster.commands[step]
            self.log = self._cluster.folder / "second.log"
            self.second = self._cluster._start_process(step, command, environment, self.log)


def test_a_step_that_runs_twice_at_once_is_run_by_one(cluster):
    twice = Twice("robusttrainer", cluster)
    steps = cluster.run(during=twice, overrides="training.epochs=9")
    assert {code for step in steps.values() for code in step.codes} == {0}
    while twice.second.code() is None:
        time.sleep(0.1)
    assert twice.second.code() == 0
    said = [steps["robusttrainer"].text, twice.log.read_text()]
    assert sorted("✓ RobustTrainer" in text for text in said) == [False, True]
    (other,) = (text for text in said if "✓ RobustTrainer" not in text)
    assert "RobustTrainer  is being run by " in other and "RobustTrainer  done before in this run" in other


class StoreAway:
    """Kills ML Metadata's server while the classifier trains, and starts it when the step waits for it, or has ended.

    Attributes:
        later: checkpoints that were written after that.
    """

    def __init__(self, cluster: Cluster, mariadb):
        self._folder, self._mariadb = cluster.folder, mariadb
        self._killed = self._back = False
        self.later: set[int] = set()

    def __call__(self, step: str, process) -> None:
        if step != "robusttrainer":
            return
        written = self._written()
        if not self._killed and written:
            self._mariadb.kill()
            self._killed = True
        elif self._killed and not self._back and (self._waits() or process.code() is not None):
            self._mariadb.start()
            self._back = True
        elif self._back:
            self.later |= written

    def _waits(self) -> bool:
        log = max(self._folder.glob("*/robusttrainer.log"), key=lambda path: path.stat().st_mtime)
        return "RobustTrainer  ML Metadata on MySQL at host" in log.read_text()

    def _written(self) -> set[int]:
        checkpoints = self._folder / "volume" / "runs" / "model_patching" / "checkpoints" / "RobustTrainer"
        with contextlib.suppress(FileNotFoundError):
            return {int(path.stem.split("-")[1]) for path in checkpoints.rglob("ckpt-*.index")}
        return set()


def test_a_training_that_ends_while_ml_metadata_is_away_waits_for_it(cluster, mariadb):
    away = StoreAway(cluster, mariadb)
    steps = cluster.run(during=away, overrides="training.epochs=10")
    assert {code for step in steps.values() for code in step.codes} == {0}
    assert steps["robusttrainer"].codes == [0] and not away.later


def test_a_setting_that_asks_for_other_nodes_is_refused(cluster):
    steps = cluster.run(overrides="training.method=erm")
    assert list(steps) == ["prepare"]
    last = steps["prepare"].text.splitlines()[-1]
    assert last.startswith("overrides: training.method=erm: gives other nodes") and "Augmenter" in last


def test_new_data_that_make_it_worse_retrain_what_depends_on_them_and_push_nothing(cluster, records):
    write, _ = records
    serving = cluster.folder / "volume" / "runs" / "model_patching" / "serving"
    before = set(serving.iterdir())
    write(swapped=True)
    try:
        steps = cluster.run()
    finally:
        write(swapped=False)
    assert {name for name, state in states(steps).items() if state == "cached"} == set()
    assert {name: step.codes for name, step in steps.items() if step.codes != [0]} == {"not-blessed": [3]}
    assert summary_of(steps)["blessed"] is False
    assert "below the last blessed model's was asked for" in steps["verdict"].text
    assert set(serving.iterdir()) == before


def test_a_failed_step_says_why_last_and_nothing_after_it_runs(cluster, records):
    (file,) = (records[1] / "train").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    try:
        steps = cluster.run()
    finally:
        file.write_bytes(whole)
    assert {name: step.codes for name, step in steps.items() if step.codes != [0]} == {"examplegen": [1]}
    assert "statisticsgen" not in steps
    last = steps["examplegen"].text.splitlines()[-1]
    assert last.startswith(f"✗ ExampleGen failed: SourceError: {file}")


def test_with_ml_metadata_in_a_file(tmp_path, records, toy_run, warm):
    specification = compiled(tmp_path, records[1], f"sqlite:///{tmp_path}/volume/metadata.sqlite")
    steps = Cluster(specification, {"mysql": {"password": ""}}, tmp_path, warm).run()
    assert {code for step in steps.values() for code in step.codes} == {0}
    summary, local_store = toy_run
    assert summary_of(steps)["groups"] == summary["groups"]
    store = MetadataStore(sqlite_config(str(tmp_path / "volume" / "metadata.sqlite")))
    assert lineage(store, runs(store)[0]) == lineage(local_store, runs(local_store)[0])
