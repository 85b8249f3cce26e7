"""What `model-patching kubeflow compile` writes, read back by kfp itself. Needs the environment of `make kubeflow`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from model_patching.pipelines.cli import main

pytest.importorskip("kfp", reason="kfp is in the environment of `make kubeflow` alone")

SETTINGS = """
data: {mnist_correlation: {class_size: 400}}
translation: {per_class: true}
training: {method: camel}
evaluation: {baseline: erm}
kubeflow:
  image: registry.example/model-patching:1.2
  root: /shared/runs
  volume: {claim: our-volume, mount_path: /shared}
  metadata:
    url: mysql://mlmd@mysql.kubeflow:3306/model_patching
    password: {secret: mysql-login, key: password}
  steps: {cpu_request: "1", memory_request: 2Gi, memory_limit: 8Gi}
  trainers:
    cpu_limit: "8"
    accelerator: nvidia.com/gpu
    accelerator_count: 2
    node_selector: {cloud.google.com/gke-accelerator: nvidia-l4}
    tolerations: [{key: nvidia.com/gpu, effect: NoSchedule}, {operator: Exists}]
  nodes:
    Augmenter: {memory_limit: 32Gi}
    BaselineTrainer: {accelerator_count: 0, retries: {count: 1, backoff_seconds: 5, give_up_after_seconds: 7201}}
  environment: {WANDB_MODE: online}
  secrets: [{secret: wandb, key: api_key, variable: WANDB_API_KEY}]
  image_pull_policy: Always
  image_pull_secrets: [registry-login]
"""
NODES = [
    "ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "ExampleGate", "CycleGANTrainer_0_even",
    "CycleGANTrainer_1_odd", "Augmenter", "RobustTrainer", "BaselineTrainer", "Evaluator", "SubgroupReport", "Pusher",
]  # fmt: skip


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(path, specification, its part for Kubernetes)."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "toy.yaml").write_text(SETTINGS)
    path = folder / "pipeline.yaml"
    result = CliRunner().invoke(main, ["kubeflow", "compile", str(folder / "toy.yaml"), "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert {file.name for file in folder.iterdir()} == {"toy.yaml", "pipeline.yaml"}
    return path, *yaml.safe_load_all(path.read_text())


@pytest.fixture(scope="module")
def tasks(compiled):
    """The steps by the name that Kubeflow shows, but for the one that comes under a condition."""
    tasks = compiled[1]["root"]["dag"]["tasks"].values()
    return {task["taskInfo"]["name"]: task for task in tasks if "triggerPolicy" not in task}


def container(compiled, tasks, name):
    executor = f"exec-{tasks[name]['componentRef']['name'].removeprefix('comp-')}"
    return (
        compiled[1]["deploymentSpec"]["executors"][executor]["container"],
        compiled[2]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor],
    )


def waits_for(compiled, tasks, name):
    """Every step that is done before a step starts."""
    names = {key: task["taskInfo"]["name"] for key, task in compiled[1]["root"]["dag"]["tasks"].items()}
    direct = [names[key] for key in tasks[name].get("dependentTasks", ())]
    return set(direct).union(*(waits_for(compiled, tasks, other) for other in direct))


def test_kfp_reads_it(compiled):
    from google.protobuf import json_format
    from kfp import components
    from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
    from kfp.pipeline_spec import pipeline_spec_pb2

    path, spec, platform = compiled
    loaded = components.load_component_from_file(str(path))
    assert set(loaded.component_spec.inputs) == {"overrides", "run_id"}
    assert loaded.pipeline_spec.pipeline_info.name == "model-patching"
    parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert len(parsed.root.dag.tasks) == len(NODES) + 3
    for config in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        json_format.ParseDict(config, KubernetesExecutorConfig())


def test_a_step_for_each_node_and_one_before_and_after(tasks):
    assert set(tasks) == {"prepare", *NODES, "verdict"}


def test_a_step_that_fails_where_the_model_was_not_blessed(compiled, tasks):
    (condition,) = (task for task in compiled[1]["root"]["dag"]["tasks"].values() if "triggerPolicy" in task)
    assert condition["dependentTasks"] == ["verdict"]
    ((name, source),) = condition["inputs"]["parameters"].items()
    assert source["taskOutputParameter"] == {
        "outputParameterKey": "blessed_output",
        "producerTask": "verdict",
    }
    assert condition["triggerPolicy"]["condition"] == f"inputs.parameter_values['{name}'] == 'false'"
    ((name, task),) = compiled[1]["components"][condition["componentRef"]["name"]]["dag"]["tasks"].items()
    assert name == "not-blessed" and "retryPolicy" not in task and task["cachingOptions"] == {}
    found, _ = container(compiled, {name: task}, name)
    assert found["command"] == ["python", "-m", "model_patching.pipelines.kubeflow.not_blessed"]
    assert tasks["verdict"]["retryPolicy"]["maxRetryCount"] == 3
    found, _ = container(compiled, tasks, "verdict")
    assert found["args"][-2:] == [
        "--blessed-output",
        "{{$.outputs.parameters['blessed_output'].output_file}}",
    ]


def test_steps_wait_for_what_they_need_and_not_for_each_other(compiled, tasks):
    before = {name: waits_for(compiled, tasks, name) for name in tasks}
    assert before["prepare"] == set()
    assert before["ExampleGen"] == {"prepare"}
    validated = {"prepare", *NODES[:5]}
    for name in ("CycleGANTrainer_0_even", "CycleGANTrainer_1_odd", "BaselineTrainer"):
        assert before[name] == validated
    assert before["Augmenter"] == validated | set(NODES[5:7])
    assert before["RobustTrainer"] == before["Augmenter"] | {"Augmenter"}
    assert "BaselineTrainer" in before["Evaluator"]
    assert before["verdict"] == {"prepare", *NODES}


def test_a_step_runs_its_node(compiled, tasks):
    found, _ = container(compiled, tasks, "RobustTrainer")
    assert found["image"] == "registry.example/model-patching:1.2"
    assert found["command"] == ["python", "-m", "model_patching.pipelines.kubeflow.node"]
    options = dict(zip(found["args"][::2], found["args"][1::2], strict=True))
    assert options["--node"] == "RobustTrainer"
    assert options["--metadata"] == "mysql://mlmd@mysql.kubeflow:3306/model_patching"


def test_the_first_step_gets_the_whole_configuration_on_the_clusters_storage(compiled, tasks):
    found, _ = container(compiled, tasks, "prepare")
    options = dict(zip(found["args"][::2], found["args"][1::2], strict=True))
    tree = json.loads(options["--config"])
    assert tree["root"] == "/shared/runs" and tree["data"]["mnist_correlation"]["class_size"] == 400
    assert tree["translation"]["per_class"] is True
    assert set(json.loads(options["--graph"])) == set(NODES)


def test_what_is_filled_in_when_a_run_is_started(compiled):
    parameters = compiled[1]["root"]["inputDefinitions"]["parameters"]
    assert set(parameters) == {"overrides", "run_id"}
    for parameter in parameters.values():
        assert parameter["isOptional"] and parameter["defaultValue"] == "" and parameter["description"]


def test_tfx_and_not_kubeflow_decides_what_is_cached(tasks):
    assert {json.dumps(task["cachingOptions"]) for task in tasks.values()} == {"{}"}


@pytest.mark.parametrize("name", ["CycleGANTrainer_0_even", "CycleGANTrainer_1_odd", "RobustTrainer"])
def test_trainers_get_their_machine_and_are_tried_again(compiled, tasks, name):
    found, platform = container(compiled, tasks, name)
    resources = found["resources"]
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "2"
    assert resources["resourceCpuRequest"] == "1" and resources["resourceCpuLimit"] == "8"
    assert resources["resourceMemoryRequest"] == "2Gi" and resources["resourceMemoryLimit"] == "8Gi"
    assert platform["nodeSelector"]["labels"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert platform["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Equal", "effect": "NoSchedule"},
        {"operator": "Exists"},
    ]
    assert tasks[name]["retryPolicy"] == {
        "maxRetryCount": 3,
        "backoffDuration": "60s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "604800s",
    }


def test_single_nodes_have_settings_of_their_own(compiled, tasks):
    found, platform = container(compiled, tasks, "Augmenter")
    assert found["resources"]["resourceMemoryLimit"] == "32Gi"
    assert found["resources"]["resourceMemoryRequest"] == "2Gi"
    assert "accelerator" not in found["resources"] and "nodeSelector" not in platform
    assert "retryPolicy" not in tasks["Augmenter"]
    found, platform = container(compiled, tasks, "BaselineTrainer")
    assert "accelerator" not in found["resources"]
    assert tasks["BaselineTrainer"]["retryPolicy"]["maxRetryCount"] == 1
    assert tasks["BaselineTrainer"]["retryPolicy"]["backoffDuration"] == "5s"
    assert tasks["BaselineTrainer"]["retryPolicy"]["backoffMaxDuration"] == "7201s"


def test_every_step_has_storage_secrets_and_environment(compiled, tasks):
    for name in tasks:
        found, platform = container(compiled, tasks, name)
        assert found["env"] == [{"name": "WANDB_MODE", "value": "online"}]
        ((mount),) = platform["pvcMount"]
        assert (mount["constant"], mount["mountPath"]) == ("our-volume", "/shared")
        secrets = {
            (secret["secretName"], pair["secretKey"], pair["envVar"])
            for secret in platform["secretAsEnv"]
            for pair in secret["keyToEnv"]
        }
        assert secrets == {
            ("wandb", "api_key", "WANDB_API_KEY"),
            ("mysql-login", "password", "MODEL_PATCHING_METADATA_PASSWORD"),
        }
        assert platform["imagePullPolicy"] == "Always"
        assert platform["imagePullSecret"][0]["secretName"] == "registry-login"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["kubeflow=null"], "toy.yaml: kubeflow: is missing; give at least image, root, volume and metadata"),
        (["kubeflow.nodes={Trainer: {}}"], "kubeflow.nodes: Trainer: there is no such node; there are prepare, "),
        (["kubeflow.root=gs://bucket/runs"], "kubeflow.root: records are built on a volume, and gs://bucket/runs "),
        (["kubeflow.imag=x"], "kubeflow.imag: unknown key, did you mean 'image'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled(tmp_path, overrides, line):
    (tmp_path / "toy.yaml").write_text(SETTINGS)
    output = tmp_path / "pipeline.yaml"
    options = [argument for override in overrides for argument in ("--set", override)]
    command = ["kubeflow", "compile", str(tmp_path / "toy.yaml"), "-o", str(output), *options]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert line in result.output and len(result.output.strip().splitlines()) == 1
    assert not output.exists()


def test_records_of_the_cluster_need_not_be_here(tmp_path):
    (tmp_path / "toy.yaml").write_text(SETTINGS)
    description = "{classes: [a, b], subgroups: [c, d], image_shape: [32, 32, 3]}"
    features = "{image: jpg, label: y, subgroup: z}"
    for extra in ([], ["--set", f"data.features={features}"]):
        output = tmp_path / f"pipeline{len(extra)}.yaml"
        command = ["kubeflow", "compile", str(tmp_path / "toy.yaml"), "-o", str(output), *extra]
        command += ["--set", "data.mnist_correlation=null", "--set", "data.records=/shared/records"]
        result = CliRunner().invoke(main, [*command, "--set", f"data.dataset={description}"])
        assert result.exit_code == 0, result.output
        assert "CycleGANTrainer_0_a" in output.read_text()


def test_another_suffix_and_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "toy.yaml").write_text(SETTINGS)
    command = ["kubeflow", "compile", str(tmp_path / "toy.yaml"), "-o"]
    result = CliRunner().invoke(main, [*command, "pipeline.json"])
    assert (result.exit_code, result.output) == (2, "--output pipeline.json: must end with .yaml or .yml\n")
    result = CliRunner().invoke(main, [*command, str(tmp_path / "nowhere" / "pipeline.yaml")])
    assert result.exit_code == 1
    assert "pipeline.yaml: can't be written: No such file or directory" in result.output


def test_without_kfp_it_says_where_it_is(tmp_path):
    (tmp_path / "toy.yaml").write_text(SETTINGS)
    hide = "import sys; sys.modules['kfp'] = None; from model_patching.pipelines.cli import main; main()"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            hide,
            "kubeflow",
            "compile",
            str(tmp_path / "toy.yaml"),
            "-o",
            "pipeline.yaml",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "make kubeflow" in done.stderr
    assert not Path(tmp_path, "pipeline.yaml").exists()
