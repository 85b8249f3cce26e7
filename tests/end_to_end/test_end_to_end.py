"""The whole graph at toy size, through the commands that users type.

The runs build on each other, as a user's do, and work on a copy of the source tree, so that a test can edit it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.orchestration import metadata

from model_patching.data.mnist_correlation import MnistCorrelationSettings, dataset
from model_patching.data.schema import decode_image, deserialize, read_records

REPOSITORY = Path(__file__).parents[2]
DATASET = dataset(MnistCorrelationSettings())
TOY = Path(__file__).parent / "toy.yaml"
BIN = Path(sys.executable).parent
BEFORE_PATCHES = [
    "ExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "ExampleGate",
    "BaselineTrainer",
    "CycleGANTrainer",
]
FROM_PATCHES_ON = ["Augmenter", "RobustTrainer", "Evaluator", "SubgroupReport", "Pusher"]


class Workspace:
    """A working directory with a copy of the source, and the commands that were run there."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.source = folder / "source" / "model_patching"
        for part in ("data", "components", "pipelines"):
            shutil.copytree(
                REPOSITORY / part, self.source / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.source.parent),
            "HOME": str(folder),
            "WANDB_MODE": "offline",
            "MODEL_PATCHING_PRESET": str(TOY),
        }
        # Another test's tracker may still be there, and a user's run wouldn't find it.
        self.environment.pop("WANDB_SERVICE", None)

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """Runs a command to its end; output as text."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    @property
    def root(self) -> Path:
        """The pipeline's artifacts."""
        return self.folder / "runs" / "model_patching"

    def latest(self, node: str, output: str) -> Path:
        """Folder of the newest artifact of a node's output."""
        return max((self.root / node / output).iterdir(), key=lambda path: int(path.name))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """With a first run of the toy pipeline done."""
    workspace = Workspace(tmp_path_factory.mktemp("work space"))
    workspace.first = workspace.run("model-patching", "run", str(TOY))
    assert workspace.first.returncode == 0, workspace.first.stdout + workspace.first.stderr
    return workspace


def node_lines(output: str) -> dict[str, str]:
    """How each node went, "✓" or "•", by its name, from a run's lines."""
    words = [line.split() for line in output.splitlines() if line.startswith(("✓", "•"))]
    return {line[1]: "cached" if line[-1] == "cached" else "ran" for line in words}


def split_records(folder: Path) -> list:
    return [deserialize(serialized.numpy()) for serialized in read_records(sorted(folder.glob("*")))]


def summary(workspace: Workspace) -> dict:
    return json.loads((workspace.latest("SubgroupReport", "report") / "summary.json").read_text())


def serve(model: Path, endpoint: str, argument: str, values: list[bytes]) -> np.ndarray:
    loaded = tf.saved_model.load(str(model))
    return loaded.signatures[endpoint](**{argument: tf.constant(values)})["probabilities"].numpy()


def test_the_run_says_one_line_a_node_and_nothing_else_gets_through(workspace):
    output = workspace.first.stdout
    assert node_lines(output) == dict.fromkeys(
        ["MNIST-Correlation", *BEFORE_PATCHES, *FROM_PATCHES_ON], "ran"
    )
    assert workspace.first.stderr == ""
    assert "\x1b" not in output
    assert "odd / zigzag" in output and "blessed" in output
    for word in ("report", "log"):
        path = next(line.split(maxsplit=1)[1] for line in output.splitlines() if line.startswith(f"{word} "))
        assert (workspace.folder / path).is_file()


def test_the_figures_are_those_of_the_pushed_model_on_the_test_records(workspace):
    figures = summary(workspace)
    (version,) = (workspace.root / "serving").iterdir()
    records = split_records(next((workspace.folder / "runs" / "data").glob("mnist_correlation-*/test")))
    probabilities = serve(version, "serving_image", "images", [record.image for record in records])
    label = np.array([record.label for record in records])
    group = label * 2 + np.array([record.subgroup for record in records])
    correct = probabilities.argmax(axis=1) == label

    assert figures["method"] == "camel" and figures["seed"] == 1
    assert figures["baseline"]["method"] == "erm"
    assert [row["name"] for row in figures["groups"]] == list(DATASET.group_names)
    assert [row["count"] for row in figures["groups"]] == np.bincount(group).tolist()
    accuracy = [correct[group == index].mean() for index in range(4)]
    assert [row["accuracy"] for row in figures["groups"]] == pytest.approx(accuracy)
    assert figures["worst_group_accuracy"] == pytest.approx(min(accuracy))
    for row, number in zip(figures["slices"][5:], range(4), strict=True):
        assert row["name"] == DATASET.group_names[number]
        assert row["accuracy"] == pytest.approx(accuracy[number])
    everything = figures["slices"][0]
    assert (everything["name"], everything["count"]) == ("all", len(records))
    predicted = probabilities.argmax(axis=1)
    assert everything["confusion_matrix"] == [
        [int(((label == y) & (predicted == guess)).sum()) for guess in range(2)] for y in range(2)
    ]
    assert figures["missed_thresholds"] == [] and figures["intervals"] is None
    assert figures["blessed"] is True
    assert figures["timings"]["RobustTrainer"] > 0


def test_the_pushed_model_serves_records_as_it_serves_images(workspace):
    (version,) = (workspace.root / "serving").iterdir()
    files = sorted(next((workspace.folder / "runs" / "data").glob("mnist_correlation-*/test")).glob("*"))
    serialized = [record.numpy() for record in read_records(files).take(5)]
    images = [deserialize(record).image for record in serialized]
    of_records = serve(version, "serving_default", "examples", serialized)
    np.testing.assert_allclose(of_records, serve(version, "serving_image", "images", images), atol=1e-6)
    np.testing.assert_allclose(of_records.sum(axis=1), 1, atol=1e-6)


def test_every_training_record_is_materialized_once_with_a_rendition_in_each_subgroup(workspace):
    source = split_records(workspace.latest("ExampleGen", "examples") / "Split-train")
    patched = split_records(workspace.latest("Augmenter", "examples") / "Split-train")
    assert sorted(record.example_id for record in patched) == sorted(record.example_id for record in source)
    by_id = {record.example_id: record for record in source}
    for record in patched:
        original = by_id[record.example_id]
        assert (record.image, record.label, record.subgroup) == (
            original.image,
            original.label,
            original.subgroup,
        )
        assert len(record.patched_images) == 2
        for image in record.patched_images:
            assert decode_image(tf.constant(image), DATASET).shape == (28, 28, 1)


def test_consistency_and_mistakes_are_the_pushed_models_on_the_test_renditions(workspace):
    (version,) = (workspace.root / "serving").iterdir()
    records = split_records(workspace.latest("Augmenter", "examples") / "Split-test")
    images = [image for record in records for image in (record.image, *record.patched_images)]
    probabilities = serve(version, "serving_image", "images", images).reshape(len(records), 3, 2)
    predicted = probabilities.argmax(axis=2)
    label = np.array([record.label for record in records])
    group = label * 2 + np.array([record.subgroup for record in records])
    changed = (predicted != predicted[:, :1]).any(axis=1)
    figures = summary(workspace)
    assert [row["count"] for row in figures["consistency"]] == np.bincount(group).tolist()
    assert [row["changed"] for row in figures["consistency"]] == np.bincount(group, changed).tolist()
    wrong = predicted[:, 0] != label
    shown = {row["example_id"]: row for row in figures["mistakes"]}
    assert len(shown) == sum(min(5, wrong[group == index].sum()) for index in range(4))
    for record, answers in zip(records, probabilities, strict=True):
        if record.example_id in shown:
            row = shown[record.example_id]
            assert row["predicted"] == answers[0].argmax() != record.label
            found = [row["probability"], *(one["probability"] for one in row["renditions"])]
            assert found == pytest.approx(answers.max(axis=1), abs=1e-5)


def test_the_lineage_is_that_of_ml_metadata(workspace):
    lineage = {node["node"]: node for node in summary(workspace)["lineage"]}
    assert set(lineage) >= {*BEFORE_PATCHES, "Augmenter", "RobustTrainer", "Evaluator"}
    (patched,) = lineage["Augmenter"]["outputs"]
    assert patched["type"] == "Examples" and patched in lineage["RobustTrainer"]["inputs"]
    for node in lineage.values():
        for artifact in node["outputs"]:
            assert (
                artifact["path"].startswith(f"{node['node']}/")
                and (workspace.root / artifact["path"]).is_dir()
            )


def test_the_renditions_are_the_translators(workspace):
    patched = split_records(workspace.latest("Augmenter", "examples") / "Split-train")[:8]
    translators = workspace.latest("CycleGANTrainer", "model") / "translators"
    for subgroup, name in enumerate(("1_to_0", "0_to_1")):
        loaded = tf.saved_model.load(str(translators / name))
        images = tf.stack([decode_image(tf.constant(record.image), DATASET) for record in patched])
        expected = loaded.serve(tf.cast(images, tf.float32) / 127.5 - 1).numpy()
        found = np.stack(
            [decode_image(tf.constant(record.patched_images[subgroup]), DATASET) for record in patched]
        )
        # Half a grey level of rounding, and a hair for other batch sizes.
        np.testing.assert_allclose(found / 127.5 - 1, expected, atol=0.51 / 127.5)


def test_the_translators_diagnosis_is_in_the_summary_and_with_the_model(workspace):
    model = json.loads((workspace.latest("CycleGANTrainer", "model") / "translators.json").read_text())
    rows = summary(workspace)["translation"]["directions"]
    assert rows == model["diagnostics"]
    assert [(row["class"], row["source"], row["target"]) for row in rows] == [
        ("even", "clean", "zigzag"),
        ("odd", "clean", "zigzag"),
        ("even", "zigzag", "clean"),
        ("odd", "zigzag", "clean"),
    ]
    assert summary(workspace)["translation"]["min_flip_rate"] == min(row["flip_rate"] for row in rows)
    with metadata.Metadata(
        metadata.sqlite_metadata_connection_config(str(workspace.folder / "runs" / "metadata.sqlite"))
    ) as handle:
        models = [
            artifact
            for artifact in handle.store.get_artifacts_by_type("Model")
            if "translation_flip_rate" in artifact.custom_properties
        ]
    (properties,) = [artifact.custom_properties for artifact in models]
    # TFX keeps six digits.
    for name, worst in (("flip_rate", min), ("cycle_error", max)):
        value = properties[f"translation_{name}"].double_value
        assert value == pytest.approx(worst(row[name] for row in rows), rel=1e-5)


def test_the_page_of_slices_has_the_summarys_figures(workspace, chromium):
    done = workspace.run("model-patching", "slices", "latest", "--no-open")
    assert (done.returncode, done.stdout, done.stderr) == (0, "slices.html\n", "")
    chromium.open((workspace.folder / "slices.html").as_uri())
    table = ".google-visualization-table-table tr"
    chromium.wait_for(lambda: len(chromium.rows(table)) > 1)
    header, *rows = chromium.rows(table)
    column = header.index("sparse_categorical_accuracy")
    found = {row[0]: float(row[column].split()[0]) for row in rows}
    for group in summary(workspace)["groups"]:
        name = "label_X_subgroup:" + group["name"].replace(" / ", "_X_")
        assert found[name] == pytest.approx(group["accuracy"], abs=6e-6)


def test_translators_below_a_threshold_make_no_patches_and_need_no_new_training(workspace):
    run = workspace.run("model-patching", "run", str(TOY), "--set", "translation.max_cycle_error=0.0001")
    assert run.returncode == 1, run.stdout + run.stderr
    assert node_lines(run.stdout) == dict.fromkeys(BEFORE_PATCHES, "cached")
    assert "✗ Augmenter failed" in run.stdout
    assert "translation.max_cycle_error is 0.0001, but " in run.stdout


def test_both_trainers_left_their_curves_with_the_tracker(workspace):
    for node in ("CycleGANTrainer", "RobustTrainer", "BaselineTrainer"):
        assert list((workspace.latest(node, "model_run") / "wandb").glob("offline-run-*/*.wandb"))
    assert list((workspace.latest("CycleGANTrainer", "model_run") / "sheets").glob("*.png"))
    report = workspace.latest("SubgroupReport", "report")
    assert list((report / "wandb").glob("offline-run-*/files/media/table/groups*.json"))


def test_tfx_runs_the_same_pipeline_and_takes_every_node_from_the_cache(workspace):
    runner = str(REPOSITORY / "pipelines" / "local_runner.py")
    created = workspace.run("tfx", "pipeline", "create", "--pipeline_path", runner)
    assert created.returncode == 0, created.stdout + created.stderr
    run = workspace.run("tfx", "run", "create", "--pipeline_name", "model_patching")
    assert run.returncode == 0, run.stdout + run.stderr
    assert node_lines(run.stdout) == dict.fromkeys([*BEFORE_PATCHES, *FROM_PATCHES_ON], "cached")
    assert "odd / zigzag" in run.stdout


def test_an_edited_source_reruns_its_node_and_what_follows_and_a_missed_gate_pushes_nothing(workspace):
    edited = workspace.source / "components" / "augmenter" / "augment.py"
    edited.write_text(edited.read_text() + "\n# edited\n")
    pushed_before = list((workspace.root / "serving").iterdir())
    gate = (
        "evaluation.min_worst_group_accuracy=1.0",
        "evaluation.min_slice_accuracy={even: 1.0, odd: 1.0, all: 0.0}",
    )
    run = workspace.run("model-patching", "run", str(TOY), "--set", gate[0], "--set", gate[1])
    assert run.returncode == 3, run.stdout + run.stderr
    assert node_lines(run.stdout) == {
        **dict.fromkeys(BEFORE_PATCHES, "cached"),
        **dict.fromkeys(FROM_PATCHES_ON, "ran"),
    }
    assert "not blessed" in run.stdout
    figures = summary(workspace)
    assert figures["blessed"] is False
    missed = {(row["threshold"], row["slice"]): row["missed_by"] for row in figures["missed_thresholds"]}
    accuracy = {row["name"]: row["accuracy"] for row in figures["slices"]}
    assert missed == pytest.approx(
        {
            ("min_worst_group_accuracy", None): 1 - figures["worst_group_accuracy"],
            **{
                ("min_slice_accuracy", name): 1 - accuracy[name]
                for name in ("even", "odd")
                if accuracy[name] < 1
            },
        }
    )
    assert "│ min_slice_accuracy of " in run.stdout and "missed by" in run.stdout
    assert list((workspace.root / "serving").iterdir()) == pushed_before


def test_a_seed_gives_the_same_figures_again(workspace):
    """The last run trained the classifier anew, from patches that were made anew."""
    reports = sorted(
        (workspace.root / "SubgroupReport" / "report").iterdir(), key=lambda path: int(path.name)
    )
    first, last = (json.loads((report / "summary.json").read_text()) for report in (reports[0], reports[-1]))
    assert reports[0] != reports[-1]
    assert last["groups"] == first["groups"]
    records = split_records(next((workspace.folder / "runs" / "data").glob("mnist_correlation-*/test")))
    models = sorted((workspace.root / "RobustTrainer" / "model").iterdir(), key=lambda path: int(path.name))
    assert len(models) == 2
    probabilities = [
        serve(model / "Format-Serving", "serving_image", "images", [record.image for record in records])
        for model in models
    ]
    np.testing.assert_array_equal(probabilities[0], probabilities[1])


def test_a_model_that_is_worse_than_the_last_blessed_one_is_refused(workspace):
    """One step at hardly any learning rate leaves the classifier as it began."""
    reports = sorted(
        (workspace.root / "SubgroupReport" / "report").iterdir(), key=lambda path: int(path.name)
    )
    blessed = json.loads((reports[0] / "summary.json").read_text())
    pushed_before = list((workspace.root / "serving").iterdir())
    changes = (
        "evaluation.baseline=last_blessed",
        "evaluation.max_worst_group_drop=0.0",
        "training.epochs=1",
        "training.steps_per_epoch=1",
        "training.learning_rate=1.0e-9",
    )
    run = workspace.run(
        "model-patching", "run", str(TOY), *(word for one in changes for word in ("--set", one))
    )
    assert run.returncode == 3, run.stdout + run.stderr
    nodes = node_lines(run.stdout)
    assert "BaselineTrainer" not in nodes
    assert (nodes["Augmenter"], nodes["RobustTrainer"]) == ("cached", "ran")

    figures = summary(workspace)
    assert figures["baseline"]["kind"] == "last_blessed"
    assert figures["baseline"]["groups"] == blessed["groups"]
    drop = blessed["worst_group_accuracy"] - figures["worst_group_accuracy"]
    assert drop > 0
    (missed,) = figures["missed_thresholds"]
    assert (missed["threshold"], missed["slice"], missed["asked"]) == ("max_worst_group_drop", None, 0.0)
    assert (missed["found"], missed["missed_by"]) == pytest.approx((drop, drop))
    assert "│ max_worst_group_drop │" in run.stdout
    assert "below the last blessed model's was asked for" in run.stdout
    assert list((workspace.root / "serving").iterdir()) == pushed_before
