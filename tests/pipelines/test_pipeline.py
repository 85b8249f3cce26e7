"""Which nodes a configuration asks for, and what is wired to what."""

import hashlib
import json

import pytest
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration.local import runner_utils

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.code_hash import code_hash
from model_patching.components.published_patches.folders import PatchesError
from model_patching.data.dataset import SPLITS
from model_patching.pipelines.config import load_config, preset_names
from model_patching.pipelines.pipeline import create_pipeline

STANDARD = {"ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "ExampleGate"}
CLOSING = {"Evaluator", "SubgroupReport", "Pusher"}
PATCHING = {"CycleGANTrainer", "Augmenter"}


def compiled(*overrides, preset="demo"):
    """The nodes of the compiled pipeline by id."""
    pipeline = Compiler().compile(create_pipeline(load_config(preset, overrides)))
    return {node.pipeline_node.node_info.id: node.pipeline_node for node in pipeline.nodes}


def sources(node, key):
    """Ids of the nodes that produce a node's input `key`."""
    return {channel.producer_node_query.id for channel in node.inputs.inputs[key].channels}


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_compiles_and_ends_with_evaluation_report_and_push(preset, tmp_path):
    overrides = []
    if not preset.startswith(("demo", "mnist", "template")):
        for split in SPLITS:
            (tmp_path / split).mkdir()
            (tmp_path / split / "data-00000-of-00001.tfrecord.gz").touch()
        overrides = [f"data.records={tmp_path}"]
    nodes = compiled(*overrides, preset=preset)
    assert set(nodes) >= STANDARD | CLOSING | {"RobustTrainer"}


def test_a_changed_manifest_of_given_records_is_no_report_from_the_cache(tmp_path):
    for split in SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / split / "data-00000-of-00001.tfrecord.gz").touch()
    found = []
    for manifest in (None, b"{}", b'{"citation": "corrected"}'):
        if manifest is not None:
            (tmp_path / "manifest.json").write_bytes(manifest)
        report = compiled(f"data.records={tmp_path}", preset="waterbirds_erm")["SubgroupReport"]
        found.append(report.parameters.parameters["manifest_hash"].field_value.string_value)
    assert found == ["", *(hashlib.sha256(manifest).hexdigest() for manifest in (b"{}", manifest))]


def test_a_model_of_translators_for_each_class_is_a_node_for_each():
    nodes = compiled("translation.per_class=true")
    trainers = {"CycleGANTrainer_0_even", "CycleGANTrainer_1_odd"}
    assert trainers == {name for name in nodes if name.startswith("CycleGANTrainer")}
    assert trainers <= set(nodes["Augmenter"].upstream_nodes)
    # Each by an input of its own: KubeflowV2DagRunner takes no union of them.
    assert [sources(nodes["Augmenter"], f"model_{label}") for label in range(2)] == [
        {name} for name in sorted(trainers)
    ]
    for label, name in enumerate(sorted(trainers)):
        # They wait for the data alone, not for each other.
        assert set(nodes[name].upstream_nodes) == {"ExampleGen", "ExampleGate"}
        parameters = nodes[name].parameters.parameters
        assert parameters["label"].field_value.int_value == label
        assert parameters["checkpoints_dir"].field_value.string_value.endswith(f"/checkpoints/{name}")
    assert trainers <= set(nodes["SubgroupReport"].upstream_nodes)


def test_the_demo_trains_camel_on_patched_examples_and_erm_beside_it():
    nodes = compiled()
    assert set(nodes) == STANDARD | PATCHING | CLOSING | {"RobustTrainer", "BaselineTrainer"}
    assert sources(nodes["Augmenter"], "model_0") == {"CycleGANTrainer"}
    assert sources(nodes["Augmenter"], "source_examples") == {"ExampleGen"}
    assert sources(nodes["RobustTrainer"], "examples") == {"Augmenter"}
    assert sources(nodes["BaselineTrainer"], "examples") == {"ExampleGen"}
    assert sources(nodes["Evaluator"], "examples") == {"ExampleGen"}
    assert sources(nodes["Evaluator"], "model") == {"RobustTrainer"}
    assert sources(nodes["Evaluator"], "baseline_model") == {"BaselineTrainer"}
    assert sources(nodes["Pusher"], "model") == {"RobustTrainer"}
    assert sources(nodes["Pusher"], "model_blessing") == {"Evaluator"}
    assert sources(nodes["SubgroupReport"], "baseline_model_run") == {"BaselineTrainer"}
    assert sources(nodes["SubgroupReport"], "model") == {"RobustTrainer"}
    assert sources(nodes["SubgroupReport"], "examples") == {"Augmenter"}  # with renditions
    assert "CycleGANTrainer" in nodes["SubgroupReport"].upstream_nodes


def test_the_records_are_read_by_this_projects_example_gen_and_tfx_notices_changed_files(tmp_path):
    config = load_config("demo", [f"root={tmp_path}"])
    pipeline = Compiler().compile(create_pipeline(config))
    node = pipeline.nodes[0].pipeline_node
    assert node.node_info.id == "ExampleGen"
    deployment = runner_utils.extract_local_deployment_config(pipeline)
    executor = runner_utils.extract_executor_spec(deployment, "ExampleGen").python_executor_spec
    driver = runner_utils.extract_custom_driver_spec(deployment, "ExampleGen")
    assert executor.class_path == "model_patching.components.example_gen.executor.Executor"
    assert driver.class_path == "tfx.components.example_gen.driver.FileBasedDriver"
    parameters = node.parameters.parameters
    assert parameters["input_base"].field_value.string_value == config.records_dir
    assert code_hash("example_gen") in parameters["custom_config"].field_value.string_value


# What the demo sets for CAMEL.
PLAIN = ("training.consistency_weight=5.0", "training.augmentation_training=original")


@pytest.mark.parametrize("method", ["erm", "balanced_erm", "group_dro", "irm", "dfr"])
def test_methods_without_patches_have_no_cyclegan_and_no_augmenter(method):
    nodes = compiled(f"training.method={method}", *PLAIN)
    assert not PATCHING & set(nodes)
    assert sources(nodes["RobustTrainer"], "examples") == {"ExampleGen"}
    assert sources(nodes["SubgroupReport"], "examples") == {"ExampleGen"}


@pytest.mark.parametrize("change", ["training.consistency=kl", "training.augmentation_training=augmented"])
def test_any_method_can_learn_from_patches(change):
    nodes = compiled("training.method=erm", *PLAIN, change)
    assert set(nodes) >= PATCHING
    assert sources(nodes["RobustTrainer"], "examples") == {"Augmenter"}


@pytest.fixture
def published(tmp_path):
    """Overrides for published patched images; the files are empty, but there."""
    for name in (*(f"{split}/data-00000-of-00001.tfrecord.gz" for split in SPLITS), "source_order.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "patches" / "group" / "pair").mkdir(parents=True)
    (tmp_path / "patches" / "group" / "pair" / "00-10240.tfrec").touch()
    dataset = {"classes": ["a", "b"], "subgroups": ["c", "d"], "image_shape": [16, 16, 3]}
    return [
        "data.mnist_correlation=null",
        f"data.records={tmp_path}",
        f"data.dataset={json.dumps(dataset)}",
        "patching.source=published",
        f"patching.folder={tmp_path}/patches",
        *(f"translation.{key}=null" for key in TranslationThresholds.model_fields),
    ]


def test_published_patches_take_the_place_of_both_nodes(published):
    nodes = compiled(*published)
    assert not PATCHING & set(nodes)
    assert sources(nodes["PublishedPatches"], "source_examples") == {"ExampleGen"}
    assert "ExampleGate" in nodes["PublishedPatches"].upstream_nodes
    assert sources(nodes["RobustTrainer"], "examples") == {"PublishedPatches"}
    # Both models learn from the same records, even where not all of them were patched.
    assert sources(nodes["BaselineTrainer"], "examples") == {"PublishedPatches"}
    assert sources(nodes["Evaluator"], "examples") == {"ExampleGen"}
    assert sources(nodes["SubgroupReport"], "examples") == {"PublishedPatches"}
    assert "translator_model_run_0" not in nodes["SubgroupReport"].inputs.inputs
    assert "PublishedPatches" not in compiled(*published, "training.method=erm", *PLAIN)


def test_other_published_files_are_other_patches(published, tmp_path):
    def parameters(*overrides):
        node = compiled(*published, *overrides)["PublishedPatches"]
        return node.parameters.SerializeToString(deterministic=True)

    first = parameters()
    assert parameters("augmentation.batch_size=7") == first  # of the Augmenter alone
    assert parameters("patching.files_read_at_once=7") != first
    file = tmp_path / "patches" / "group" / "pair" / "00-10240.tfrec"
    for changed in (file, tmp_path / "source_order.npz"):
        changed.write_bytes(b"other")
        assert parameters() != first
        first = parameters()
    file.unlink()
    with pytest.raises(PatchesError, match="patches: no .tfrec files in there or below"):
        parameters()


def test_the_last_blessed_model_can_be_the_baseline():
    nodes = compiled("evaluation.baseline=last_blessed")
    assert "BaselineTrainer" not in nodes
    assert sources(nodes["Evaluator"], "baseline_model") == {"LastBlessedModel"}


def test_there_can_be_no_baseline():
    nodes = compiled("evaluation.baseline=none")
    assert not {"BaselineTrainer", "LastBlessedModel"} & set(nodes)
    assert "baseline_model" not in nodes["Evaluator"].inputs.inputs


@pytest.mark.parametrize("trainer", ["CycleGANTrainer", "RobustTrainer", "BaselineTrainer"])
def test_no_trainer_starts_before_the_examples_are_validated(trainer):
    nodes = compiled()
    assert "ExampleGate" in nodes[trainer].upstream_nodes
    assert sources(nodes["ExampleGate"], "anomalies") == {"ExampleValidator"}
    assert sources(nodes["ExampleGate"], "examples") == {"ExampleGen"}


def test_another_file_of_weights_is_another_training(tmp_path):
    file = tmp_path / "resnet.weights.h5"

    def parameters():
        nodes = compiled("training.backbone=ResNet50", f"training.weights={file}")
        return nodes["RobustTrainer"].parameters.SerializeToString(deterministic=True)

    file.write_bytes(b"one")
    one, again = parameters(), parameters()
    file.write_bytes(b"another")
    assert one == again != parameters()


@pytest.mark.parametrize("norm, expected", [("batchnorm", 7), ("instancenorm", 128)])
def test_translators_are_diagnosed_with_the_augmenters_batch_where_it_matters(norm, expected):
    trainer = compiled("augmentation.batch_size=7", f"translation.norm={norm}")["CycleGANTrainer"]
    assert trainer.parameters.parameters["translate_batch_size"].field_value.int_value == expected


def test_each_trainer_is_keyed_by_settings_seed_and_source():
    before, after = compiled(), compiled("translation.steps=7", "seed=3")
    changed = {
        name
        for name, node in before.items()
        if node.parameters.SerializeToString(deterministic=True)
        != after[name].parameters.SerializeToString(deterministic=True)
    }
    # The records' folder depends on the seed too, and so ExampleGen, and the report, which reads its manifest.
    assert changed == {"ExampleGen", "CycleGANTrainer", "RobustTrainer", "BaselineTrainer", "SubgroupReport"}
    assert before["CycleGANTrainer"].parameters.parameters["code_hash"].field_value.string_value
    assert (
        "code_hash" in before["RobustTrainer"].parameters.parameters["custom_config"].field_value.string_value
    )


def test_the_baselines_seed_is_that_of_the_training_unless_it_has_one():
    def seeds(*overrides):
        nodes = compiled(*overrides)
        configs = (
            nodes[name].parameters.parameters["custom_config"].field_value.string_value
            for name in ("RobustTrainer", "BaselineTrainer")
        )
        return [json.loads(config)["seed"] for config in configs]

    assert seeds("seed=5") == [5, 5]
    assert seeds("seed=5", "training.seed=6") == [6, 6]
    assert seeds("training.seed=6", "baseline.seed=7") == [6, 7]
