"""The cluster's part of the configuration: what it says of mistakes, and which settings a step gets."""

import pytest

from model_patching.pipelines.config import PRESETS, ConfigError, config_as_yaml, load_config
from model_patching.pipelines.kubeflow.settings import KubeflowSettings, Retries

GOOD = """
data: {mnist_correlation: {class_size: 400}}
kubeflow:
  image: registry/image:1
  root: /shared/runs
  volume: {claim: ours, mount_path: /shared}
  metadata: {url: "mysql://me@mysql/metadb"}
  steps: {cpu_request: "1", memory_limit: 4Gi}
  trainers: {accelerator: nvidia.com/gpu, memory_limit: 16Gi}
  nodes:
    RobustTrainer: {memory_limit: 64Gi, accelerator_count: 4}
    Augmenter: {accelerator: nvidia.com/gpu}
"""


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return str(path)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("kubeflow.imag=x", "kubeflow.imag: unknown key, did you mean 'image'?"),
        ("kubeflow.image=null", "kubeflow.image: null is not a text; put it in quotes if it is meant as one"),
        (
            "kubeflow.volume=null",
            "kubeflow: volume: is missing, the steps don't share /shared/runs otherwise",
        ),
        ("kubeflow.root=runs", "kubeflow: root: runs must be an absolute path or gs://…"),
        ("kubeflow.root=/other", "kubeflow: root: /other is not below volume.mount_path, /shared"),
        (
            "kubeflow.root=s3://bucket/runs",
            "kubeflow: root: TensorFlow can't write to s3://bucket/runs; give gs://… or a folder on a volume, which "
            "may be a bucket that a CSI driver mounts",
        ),
        ("kubeflow.volume.mount_path=shared", "kubeflow.volume.mount_path: 'shared' doesn't match ^/."),
        (
            "kubeflow.metadata.url=metadb",
            "kubeflow.metadata.url: metadb is none of mysql://USER@HOST:PORT/DATABASE, grpc://HOST:PORT or "
            "sqlite:////FILE",
        ),
        ("kubeflow.metadata.password.secre=x", "kubeflow.metadata.password.secret: is missing"),
        (
            "kubeflow.steps.cpu_request=2",
            "kubeflow.steps.cpu_request: 2 is not a text; put it in quotes if it is meant as one",
        ),
        (
            "kubeflow.steps.memory_limit=lots",
            r"kubeflow.steps.memory_limit: 'lots' doesn't match ^\d+(\.\d+)?(Ki?|Mi?|Gi?|Ti?)$",
        ),
        (
            "kubeflow.trainers.tolerations=[{kee: x}]",
            "kubeflow.trainers.tolerations.0.kee: unknown key, did you mean 'key'?",
        ),
        (
            "kubeflow.trainers.tolerations=[{effect: NoSchedule}]",
            "kubeflow.trainers.tolerations.0: key: is missing; operator: Exists tolerates all taints",
        ),
        (
            "kubeflow.trainers.tolerations=[{key: gpu, operator: Exists, value: l4}]",
            "kubeflow.trainers.tolerations.0: value: l4 doesn't go with operator: Exists, which tolerates every value",
        ),
        (
            "kubeflow.trainers.tolerations=[{key: gpu, value: l4, effect: NoSchedule, toleration_seconds: 5}]",
            "kubeflow.trainers.tolerations.0: toleration_seconds: goes with effect: NoExecute alone",
        ),
        (
            "kubeflow.steps.accelerator_count=2",
            "kubeflow: steps.accelerator_count: 2 of what? give accelerator, too, such as nvidia.com/gpu",
        ),
        (
            "kubeflow.trainers={accelerator_count: 1}",
            "kubeflow: trainers.accelerator_count: 1 of what? give accelerator, too, such as nvidia.com/gpu",
        ),
        (
            "kubeflow.nodes.Evaluator.accelerator_count=1",
            "kubeflow: nodes.Evaluator.accelerator_count: 1 of what? give accelerator, too, such as nvidia.com/gpu",
        ),
        (
            "kubeflow.nodes.RobustTrainer.memory=1G",
            "kubeflow.nodes.RobustTrainer.memory: unknown key, did you mean 'memory_limit'?",
        ),
        (
            "kubeflow.trainers.retries.give_up_after_seconds=0",
            "kubeflow.trainers.retries.give_up_after_seconds: 0 is not at least 1",
        ),
        (
            "kubeflow.trainers.retries.backoff_factor=1.5",
            "kubeflow.trainers.retries.backoff_factor: 1.5 is not an integer",
        ),
        (
            "kubeflow.secrets=[{secret: wandb, key: key, variable: a-b}]",
            "kubeflow.secrets.0.variable: 'a-b' doesn't match ^[A-Za-z_][A-Za-z0-9_]*$",
        ),
    ],
)
def test_a_mistake_is_a_line_with_the_path_of_its_key(good, override, line):
    with pytest.raises(ConfigError) as caught:
        load_config(good, [override])
    assert f"{good}: {line}" in str(caught.value).split("\n")


def test_the_cluster_survives_as_yaml(good, tmp_path):
    config = load_config(good)
    (tmp_path / "again.yaml").write_text(config_as_yaml(config))
    assert load_config(str(tmp_path / "again.yaml")) == config


def test_a_bucket_needs_no_volume(good):
    overrides = ["kubeflow.volume=null", "kubeflow.root=gs://bucket/runs"]
    assert load_config(good, overrides).kubeflow.volume is None


def test_the_most_special_settings_count(good):
    settings = load_config(good).kubeflow

    def of(name):
        step = settings.step(name)
        return step.cpu_request, step.memory_limit, step.accelerator, step.accelerator_count

    assert of("ExampleGen") == of("prepare") == ("1", "4Gi", None, None)
    assert of("Augmenter") == ("1", "4Gi", "nvidia.com/gpu", None)
    assert of("BaselineTrainer") == ("1", "16Gi", "nvidia.com/gpu", None)
    assert of("CycleGANTrainer_0_even") == ("1", "16Gi", "nvidia.com/gpu", None)
    assert of("RobustTrainer") == ("1", "64Gi", "nvidia.com/gpu", 4)


def test_trainers_are_tried_again_as_often_as_is_said(good):
    def counts(*overrides):
        settings = load_config(good, overrides).kubeflow
        found = [settings.step(name).retries for name in ("ExampleGen", "BaselineTrainer", "RobustTrainer")]
        return [retries and retries.count for retries in found]

    of_steps, of_trainers = "kubeflow.steps.retries={count: 1}", "kubeflow.trainers.retries={count: 2}"
    assert counts() == [None, 3, 3]
    assert counts(of_steps) == [1, 1, 1]
    assert counts(of_steps, of_trainers) == [1, 2, 2]
    assert counts(of_steps, of_trainers, "kubeflow.nodes.RobustTrainer.retries={count: 0}") == [1, 2, 0]
    assert counts(of_steps, "kubeflow.trainers.retries=null") == [1, 1, 1]


def test_records_of_a_cluster_need_not_be_here(good):
    overrides = [
        "data.mnist_correlation=null",
        "data.records=/nowhere",
        "data.dataset={classes: [a, b], subgroups: [c, d], image_shape: [8, 8, 1]}",
    ]
    with pytest.raises(ConfigError, match="/nowhere/train has no .tfrecord.gz files"):
        load_config(good, overrides)
    assert load_config(good, overrides, files_are_here=False).data.records == "/nowhere"


def test_the_templates_example_of_a_cluster_is_right(tmp_path):
    settings, _, example = (PRESETS / "template.yaml").read_text().partition("\nkubeflow: null")
    example, _, _ = example.partition("\nvertex: null")
    example = "\n".join(line.removeprefix("# ") for line in example.splitlines()[1:])
    (tmp_path / "cluster.yaml").write_text(f"{settings}\n{example}")
    cluster = load_config(str(tmp_path / "cluster.yaml")).kubeflow
    assert cluster.model_fields_set == set(KubeflowSettings.model_fields)
    assert cluster.fail_unless_blessed is True and cluster.trainers.retries == Retries()
