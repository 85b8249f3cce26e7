"""What `model-patching vertex compile` writes, read back by kfp itself. Needs the environment of `make kubeflow`."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from model_patching.pipelines.cli import main

pytest.importorskip("kfp.dsl", reason="kfp is in the environment of `make kubeflow` alone")

SETTINGS = """
data:
  records: gs://our-bucket/records/birds
  dataset: {classes: [land, water], subgroups: [on_land, on_water], image_shape: [32, 32, 3]}
translation: {per_class: true}
training: {method: camel}
evaluation: {baseline: last_blessed, max_worst_group_drop: 0.02}
vertex:
  image: europe-docker.pkg.dev/ours/images/model-patching:1.2
  root: gs://our-bucket/runs/
  steps: {cpu_limit: 4, memory_limit: 15}
  trainers: {accelerator: NVIDIA_L4, accelerator_count: 2, cpu_limit: 24}
  nodes:
    Augmenter: {accelerator: NVIDIA_TESLA_T4, retries: {count: 1, backoff_seconds: 5, backoff_factor: 1.5}}
    CycleGANTrainer_1_water: {accelerator_count: 0, retries: {count: 0}}
"""
TRAINERS = ["CycleGANTrainer_0_land", "CycleGANTrainer_1_water", "RobustTrainer"]
NODES = [
    "ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "ExampleGate", *TRAINERS, "Augmenter",
    "Evaluator", "SubgroupReport", "Pusher",
]  # fmt: skip
RESOLVERS = ["LastBlessedModel-model-blessing-resolver", "LastBlessedModel-model-resolver"]


def compile_job(folder, *overrides):
    """Writes the toy and compiles it; the command's result and the file."""
    (folder / "toy.yaml").write_text(SETTINGS)
    output = folder / "job.json"
    options = [argument for override in overrides for argument in ("--set", override)]
    command = ["vertex", "compile", str(folder / "toy.yaml"), "-o", str(output), *options]
    return CliRunner().invoke(main, command), output


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    result, output = compile_job(folder)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == str(output)
    assert {file.name for file in folder.iterdir()} == {"toy.yaml", "job.json"}
    return json.loads(output.read_text())


@pytest.fixture(scope="module")
def tasks(job):
    return job["pipelineSpec"]["root"]["dag"]["tasks"]


def container(job, name):
    label = job["pipelineSpec"]["components"][name]["executorLabel"]
    return job["pipelineSpec"]["deploymentSpec"]["executors"][label]["container"]


def test_kfp_reads_it(job):
    from google.protobuf import json_format
    from kfp import components
    from kfp.pipeline_spec import pipeline_spec_pb2

    loaded = components.load_component_from_text(yaml.safe_dump(job["pipelineSpec"]))
    assert loaded.pipeline_spec.pipeline_info.name == "model-patching"
    assert set(loaded.pipeline_spec.root.dag.tasks) == {*NODES, *RESOLVERS}
    # By its own format, which knows no other keys.
    deployment = json_format.ParseDict(
        job["pipelineSpec"]["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig()
    )
    assert len(deployment.executors) == len(NODES) + len(RESOLVERS)
    whole = json_format.ParseDict(job, pipeline_spec_pb2.PipelineJob())
    assert whole.runtime_config.gcs_output_directory == "gs://our-bucket/runs/model-patching"


def test_every_input_has_one_source_that_gives_its_type(job, tasks):
    components = job["pipelineSpec"]["components"]
    inputs = 0
    for name, task in tasks.items():
        for key, source in task.get("inputs", {}).get("artifacts", {}).items():
            inputs += 1
            output = source["taskOutputArtifact"]
            assert output["producerTask"] in task.get("dependentTasks", ()) or name in RESOLVERS
            producer = components[tasks[output["producerTask"]]["componentRef"]["name"]]
            given = producer["outputDefinitions"]["artifacts"][output["outputArtifactKey"]]
            assert components[name]["inputDefinitions"]["artifacts"][key] == given
    assert inputs > 20
    models = {
        source["taskOutputArtifact"]["producerTask"]
        for key, source in tasks["Augmenter"]["inputs"]["artifacts"].items()
        if key.startswith("model_")
    }
    assert models == set(TRAINERS[:2])


def test_the_types_of_artifacts_are_there(job):
    found = {
        (name, key): yaml.safe_load(artifact["artifactType"]["instanceSchema"])["title"]
        for name, component in job["pipelineSpec"]["components"].items()
        for key, artifact in component.get("outputDefinitions", {}).get("artifacts", {}).items()
    }
    assert found["ExampleGate", "group_counts"] == "model_patching.GroupCounts"
    assert found["SubgroupReport", "report"] == "model_patching.SubgroupReport"
    assert found["Augmenter", "examples"] == "tfx.Examples"
    assert found["RobustTrainer", "model_run"] == "tfx.ModelRun"


def test_trainers_wait_for_the_gate_and_not_for_each_other(tasks):
    for name in TRAINERS[:2]:
        assert set(tasks[name]["dependentTasks"]) == {"ExampleGen", "ExampleGate"}
    assert set(tasks["RobustTrainer"]["dependentTasks"]) == {"Augmenter", "ExampleGate"}


def test_a_task_runs_its_node_in_the_image(job):
    found = container(job, "RobustTrainer")
    assert found["image"] == "europe-docker.pkg.dev/ours/images/model-patching:1.2"
    assert found["command"] == [
        "python", "-m", "model_patching.pipelines.vertex.node", "--pipeline", "model-patching",
        "--run-id", "{{$.pipeline_job_name}}", "--node", "{{$.pipeline_task_name}}",
    ]  # fmt: skip


def test_it_is_of_the_format_whose_parameters_have_types(job, tasks):
    assert job["pipelineSpec"]["schemaVersion"] == "2.1.0"
    arguments = container(job, "CycleGANTrainer_1_water")["args"]
    options = dict(zip(arguments[:6:2], arguments[1:6:2], strict=True))
    assert options["--executor_class_path"] == "model_patching.components.cyclegan_trainer.executor.Executor"
    assert options["--json_serialized_invocation_args"] == "{{$}}"
    types = json.loads(options["--json_serialized_inputs_spec_args"])["parameters"]
    assert types["label"] == {"parameterType": "NUMBER_INTEGER"}
    assert types["settings"] == {"parameterType": "STRING"}
    parameters = tasks["CycleGANTrainer_1_water"]["inputs"]["parameters"]
    assert parameters["label"] == {"runtimeValue": {"constant": 1}}
    driver = container(job, "ExampleGen")["lifecycle"]["preCacheCheck"]
    assert driver["command"][-1] == "tfx.orchestration.kubeflow.v2.file_based_example_gen.driver"


def test_nodes_come_from_the_cache_and_queries_do_not(tasks):
    assert {name for name, task in tasks.items() if "cachingOptions" not in task} == set(RESOLVERS)
    assert all(tasks[name]["cachingOptions"] == {"enableCache": True} for name in NODES)


def test_googles_sdk_takes_it_as_a_template(job, tmp_path):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    (tmp_path / "job.json").write_text(json.dumps(job))
    loaded = aiplatform.PipelineJob(
        display_name="nightly",
        template_path=str(tmp_path / "job.json"),
        project="ours",
        location="europe-west4",
        credentials=AnonymousCredentials(),
    ).to_dict()
    assert (
        loaded["pipelineSpec"]["root"]["dag"]["tasks"].keys()
        == job["pipelineSpec"]["root"]["dag"]["tasks"].keys()
    )
    assert loaded["runtimeConfig"]["gcsOutputDirectory"] == "gs://our-bucket/runs/model-patching"


def test_machines_and_accelerators(job):
    smallest = {"cpuLimit": 4, "memoryLimit": 15}
    assert container(job, "ExampleGen")["resources"] == smallest
    assert container(job, "Evaluator")["resources"] == smallest
    trainer = {"cpuLimit": 24, "memoryLimit": 15}
    accelerator = {"type": "NVIDIA_L4", "count": "2"}
    assert container(job, "RobustTrainer")["resources"] == {**trainer, "accelerator": accelerator}
    assert container(job, "CycleGANTrainer_0_land")["resources"] == {**trainer, "accelerator": accelerator}
    assert container(job, "CycleGANTrainer_1_water")["resources"] == trainer
    accelerator = {"type": "NVIDIA_TESLA_T4", "count": "1"}
    assert container(job, "Augmenter")["resources"] == {**smallest, "accelerator": accelerator}


def test_trainers_are_tried_again(tasks):
    policies = {name: task["retryPolicy"] for name, task in tasks.items() if "retryPolicy" in task}
    trained = {"maxRetryCount": 3, "backoffDuration": "60s", "backoffFactor": 2}
    assert policies == {
        "CycleGANTrainer_0_land": trained,
        "RobustTrainer": trained,
        "Augmenter": {"maxRetryCount": 1, "backoffDuration": "5s", "backoffFactor": 1.5},
    }


def test_without_settings_of_machines_vertex_chooses(tmp_path):
    result, output = compile_job(tmp_path, "vertex={image: i, root: gs://our-bucket}", "training.method=erm")
    assert result.exit_code == 0, result.output
    job = json.loads(output.read_text())
    assert "resources" not in container(job, "RobustTrainer") and "resources" not in container(
        job, "ExampleGen"
    )
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://our-bucket/model-patching"
    assert "Augmenter" not in job["pipelineSpec"]["root"]["dag"]["tasks"]


def test_with_a_baseline_of_its_own_and_a_slash_at_the_end(tmp_path):
    result, output = compile_job(
        tmp_path, "evaluation={baseline: erm}", "data.records=gs://our-bucket/records/birds/"
    )
    assert result.exit_code == 0, result.output
    tasks = json.loads(output.read_text())["pipelineSpec"]["root"]["dag"]["tasks"]
    assert tasks["Evaluator"]["inputs"]["artifacts"]["baseline_model"]["taskOutputArtifact"][
        "producerTask"
    ] == ("BaselineTrainer")
    records = tasks["ExampleGen"]["inputs"]["parameters"]["input_base"]["runtimeValue"]["constant"]
    assert records == "gs://our-bucket/records/birds"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["vertex=null"], "toy.yaml: vertex: is missing; give at least image and root"),
        (["vertex.root=/data/runs"], "toy.yaml: vertex.root: '/data/runs' doesn't match ^gs://"),
        (["vertex.nodes={Trainer: {}}"], "vertex.nodes: Trainer: there is no such node with a machine; there are Exam"),
        (["vertex.nodes={LastBlessedModel: {}}"], "vertex.nodes: LastBlessedModel: there is no such node with a mac"),
        (["vertex.steps={accelerator_count: 1}"], "steps.accelerator_count: 1 of what? give accelerator, too, such"),
        (["vertex.steps={accelerator: nvidia.com/gpu}"], "vertex.steps.accelerator: 'nvidia.com/gpu' doesn't match"),
        (["data={mnist_correlation: {}}"], "data.records: is missing: tasks on Vertex build no records and"),
        (["data.records=records/birds"], "data.records: records/birds: tasks on Vertex build no records and see "),
        (["patching={source: published, folder: here}"], "patching.folder: here: tasks on Vertex build no records an"),
        (["training.backbone=ResNet50", "training.weights=w.h5"], "training.weights: w.h5: tasks on Vertex see files "),
        (["training.backbone=InceptionV3"], "training: "),
        (["training.strategy=multi_worker"], "training.strategy: multi_worker: a task on Vertex has one machine; mir"),
        (["pipeline_name=__"], "pipeline_name: __ must have 1 to 63 letters or digits"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled(tmp_path, overrides, line):
    result, output = compile_job(tmp_path, *overrides)
    assert result.exit_code == 2
    assert line in result.output and len(result.output.strip().splitlines()) == 1
    assert not output.exists()


def test_another_suffix_and_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "toy.yaml").write_text(SETTINGS)
    command = ["vertex", "compile", str(tmp_path / "toy.yaml"), "-o"]
    result = CliRunner().invoke(main, [*command, "job.yaml"])
    assert (result.exit_code, result.output) == (2, "--output job.yaml: must end with .json\n")
    result = CliRunner().invoke(main, [*command, str(tmp_path / "nowhere" / "job.json")])
    assert result.exit_code == 1
    assert "job.json: can't be written: No such file or directory" in result.output
