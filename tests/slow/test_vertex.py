"""The compiled job, executed: every task's command in a process of its own, as Vertex AI Pipelines would.

What stands in for Vertex knows the job alone: its bucket is a fake that TensorFlow and Beam reach as the real ones, and
its metadata are lists. The tasks run in the environment of `make kubeflow`, whose kfp has what the image has of it.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from gcs import Bucket, Storage
from processes import KillOnce, Warm
from toy_run import TOY, write_toy_records

# The first test waits for the run on one machine, the job and a warm Python, too.
pytestmark = pytest.mark.timeout(1800)

BIN = Path(__file__).parents[2] / ".venv-kubeflow" / "bin"
SETTINGS = (
    TOY
    + """
vertex:
  image: model-patching:test
  root: gs://bucket/runs
  trainers: {{retries: {{count: 1, backoff_seconds: 1}}}}
"""
)


class Vertex:
    """Executes a job: tasks one after the other, in an order that their dependencies allow; caches nothing."""

    def __init__(self, job: str, storage: Storage, folder: Path, server: Path):
        """Takes a compiled job.

        Args:
            job: its JSON.
            storage: what is behind its addresses.
            folder: for logs.
            server: of `warm_python.py`.
        """
        self.job = json.loads(job)
        spec = self.job["pipelineSpec"]
        self.tasks = spec["root"]["dag"]["tasks"]
        self._components = spec["components"]
        self._executors = spec["deploymentSpec"]["executors"]
        self._storage = storage
        self._folder = folder
        self._server = server
        self._artifacts = []  # all that there are, the latest last
        self._numbers = itertools.count(1)

    def run(self, during=lambda name, process: None) -> dict[str, list[int]]:
        """Runs the job until a task fails for good; returns the exit codes of each task's tries."""
        run_id = f"{self.job['pipelineSpec']['pipelineInfo']['name']}-{next(self._numbers)}"
        codes, outputs = {}, {}
        while len(codes) < len(self.tasks):
            name = next(
                name
                for name, task in self.tasks.items()
                if name not in codes and set(codes).issuperset(task.get("dependentTasks", ()))
            )
            task = self.tasks[name]
            executor = self._executors[self._components[task["componentRef"]["name"]]["executorLabel"]]
            inputs = {
                key: outputs[source["taskOutputArtifact"]["producerTask"]][
                    source["taskOutputArtifact"]["outputArtifactKey"]
                ]
                for key, source in task.get("inputs", {}).get("artifacts", {}).items()
            }
            if "resolver" in executor:
                codes[name] = [0]
                outputs[name] = self._resolve(executor["resolver"], inputs)
                continue
            tries = 1 + task.get("retryPolicy", {}).get("maxRetryCount", 0)
            codes[name], outputs[name] = self._run(
                name, task, executor["container"], inputs, run_id, tries, during
            )
            if codes[name][-1] != 0:
                break
        return codes

    def log(self, name: str) -> str:
        """What a task has said, in all runs."""
        return (self._folder / f"{name}.log").read_text()

    def _resolve(self, resolver: dict, inputs: dict) -> dict[str, list[dict]]:
        """The latest artifact, if there is one, that an output's query finds."""
        found = {}
        for key, query in resolver["outputArtifactQueries"].items():
            matching = []
            for artifact in self._artifacts:
                conditions = [
                    f'schema_title="{_title(artifact)}"',
                    "state=LIVE",
                    f'name="{artifact["name"]}"',
                ]
                metadata = artifact.get("metadata", {})
                conditions += [f"metadata.{name}.number_value={value:g}" for name, value in metadata.items()
                               if isinstance(value, float)]  # fmt: skip
                wanted = re.sub(
                    r"{{\$\.inputs\.artifacts\['(\w+)'\]\.metadata\['(\w+)'\]}}",
                    lambda match: next((str(one["metadata"][match[2]]) for one in inputs[match[1]]), "none"),
                    query["filter"],
                ).split(" AND ")
                matching += [artifact] if set(wanted) <= set(conditions) else []
            found[key] = matching[-1:]
        return found

    def _run(
        self, name: str, task: dict, container: dict, inputs: dict, run_id: str, tries: int, during
    ) -> tuple[list[int], dict]:
        """Runs a task until it succeeds, all tries in the same folders; their exit codes and the outputs."""
        component = self._components[task["componentRef"]["name"]]
        number = next(self._numbers)
        root = f"{self.job['runtimeConfig']['gcsOutputDirectory']}/123/{run_id}/{name}_{number}"
        given = {
            key: source["runtimeValue"]["constant"]
            for key, source in task.get("inputs", {}).get("parameters", {}).items()
        }
        outputs = {
            key: [
                {
                    "name": f"projects/123/artifacts/{next(self._numbers)}",
                    "uri": f"{root}/{key}",
                    "type": defined["artifactType"],
                }
            ]
            for key, defined in component.get("outputDefinitions", {}).get("artifacts", {}).items()
        }
        file = f"{root}/executor_output.json"
        invocation = {
            "inputs": {
                "artifacts": {key: {"artifacts": found} for key, found in inputs.items()},
                "parameterValues": given,
            },
            "outputs": {
                "artifacts": {key: {"artifacts": found} for key, found in outputs.items()},
                "outputFile": file,
            },
        }
        values = {"$": json.dumps(invocation), "$.pipeline_job_name": run_id, "$.pipeline_task_name": name}

        def start(part: dict) -> Warm:
            command = [
                re.sub(r"{{(\$[a-z._]*)}}", lambda match: values[match[1]], text)
                for text in (*part["command"], *part["args"])
            ]
            assert command[0] == "python"
            environment = {
                "PATH": f"{BIN}:{os.environ['PATH']}",
                "HOME": str(self._folder),
                "WANDB_MODE": "offline",
                **self._storage.environment,
            }
            return Warm(self._server, command, environment, self._folder / f"{name}.log")

        if "lifecycle" in container:
            driver = start(container["lifecycle"]["preCacheCheck"])
            while driver.code() is None:
                time.sleep(0.02)
            assert driver.code() == 0, self.log(name)
            outputs = self._said(file, outputs)
            for key, found in outputs.items():
                invocation["outputs"]["artifacts"][key] = {"artifacts": found}
            values["$"] = json.dumps(invocation)
        codes = []
        while len(codes) < tries and codes[-1:] != [0]:
            process = start(container)
            while process.code() is None:
                during(name, process)
                time.sleep(0.02)
            codes.append(process.code())
        if codes[-1] == 0:
            outputs = self._said(file, outputs)
            self._artifacts += [artifact for found in outputs.values() for artifact in found]
        return codes, outputs

    def _said(self, file: str, outputs: dict) -> dict:
        """The outputs with what a task has written of them: it says nothing of their type."""
        said = json.loads(self._storage.bucket.read(file.removeprefix("gs://bucket/")))["artifacts"]
        return {key: [{**found[0], **said[key]["artifacts"][0]}] for key, found in outputs.items()}


def _title(artifact: dict) -> str:
    return yaml.safe_load(artifact["type"]["instanceSchema"])["title"]


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    with Storage(tmp_path_factory.mktemp("storage")) as storage:
        yield storage


@pytest.fixture(scope="module")
def bucket(storage):
    return storage.bucket


@pytest.fixture(scope="module")
def server(warm_python):
    """Socket of a warm Python, in the folder where the tasks run."""
    if not BIN.exists():
        reason = f"{BIN} isn't there: make kubeflow"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return warm_python(BIN / "python")


@pytest.fixture(scope="module")
def vertex(tmp_path_factory, storage, toy_records, write_records, server):
    """Vertex with the toy's job, on which nothing has run."""
    folder = tmp_path_factory.mktemp("vertex")
    storage.bucket.upload(write_toy_records(folder / "records", toy_records, write_records), "records")
    (folder / "toy.yaml").write_text(SETTINGS.format(records="gs://bucket/records"))
    command = [BIN / "model-patching", "vertex", "compile", folder / "toy.yaml", "-o", folder / "job.json"]
    subprocess.run(command, check=True)
    return Vertex((folder / "job.json").read_text(), storage, folder, server)


def reports(bucket: Bucket) -> list[dict]:
    """Every run's `summary.json`, in the order of the runs."""
    names = bucket.glob("runs/*/123/*/SubgroupReport_*/report/summary.json")
    return [json.loads(bucket.read(name)) for name in names]


def test_a_run_ends_as_one_on_this_machine_though_a_trainer_is_killed(vertex, bucket, toy_run):
    checkpoints = "runs/model-patching/checkpoints/CycleGANTrainer_0_left/*/0-1/ckpt-*.index"
    kill = KillOnce("CycleGANTrainer_0_left", lambda: bucket.glob(checkpoints))

    def during(name, process):
        before = kill.at_kill
        kill(name, process)
        if kill.at_kill is not before:
            (model,) = bucket.glob("runs/*/123/*/CycleGANTrainer_0_left_*/model")
            bucket.write(f"{model}/half_written", b"")

    codes = vertex.run(during=during)
    for name, found in codes.items():
        assert found == ([-signal.SIGKILL, 0] if name == "CycleGANTrainer_0_left" else [0]), vertex.log(name)
    assert set(codes) == set(vertex.tasks)
    # From scratch it would have written the first ones again.
    assert kill.later and min(kill.later) >= kill.at_kill
    (model,) = bucket.glob("runs/*/123/*/CycleGANTrainer_0_left_*/model")
    assert bucket.glob(f"{model}/*") and not bucket.glob(f"{model}/half_written")
    (found,), (expected, _) = reports(bucket), toy_run
    for key in ("groups", "worst_group", "average_accuracy", "translation", "blessed"):
        assert found[key] == expected[key], key
    assert (found["pipeline"], found["run_id"]) == ("model-patching", "model-patching-1")
    assert len(bucket.glob("runs/model-patching/serving/*")) == 1


def test_the_next_run_is_gated_by_the_model_that_was_blessed(vertex, bucket):
    codes = vertex.run()
    assert set(codes) == set(vertex.tasks) and {code for tries in codes.values() for code in tries} == {0}
    first, second = reports(bucket)
    assert first["baseline"] is None
    assert [group["accuracy"] for group in second["baseline"]["groups"]] == [
        group["accuracy"] for group in first["groups"]
    ]


def test_a_failed_task_says_why_last(vertex, bucket):
    (file,) = bucket.glob("records/train/*")
    whole = bucket.read(file)
    bucket.write(file, whole[: len(whole) // 2])
    try:
        codes = vertex.run()
    finally:
        bucket.write(file, whole)
    assert codes["ExampleGen"] == [1] and "StatisticsGen" not in codes
    said = f"✗ ExampleGen failed: SourceError: gs://bucket/{file}"
    assert vertex.log("ExampleGen").splitlines()[-1].startswith(said)


def test_nothing_went_past_the_bucket(vertex, bucket, server):
    assert reports(bucket), "the tests before haven't run"
    assert not list(server.parent.glob("gs:*"))
    assert [name for name in bucket.objects if "//" in name] == []
    assert bucket.refused == []
