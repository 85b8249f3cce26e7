"""Three subgroups (clean, zigzag, dotted line), a model of translators for each class, and the whole pipeline."""

import json

import pytest

from model_patching.data.schema import deserialize, read_records

CLASSES, SUBGROUPS = ["even", "odd"], ["clean", "zigzag", "dotted_line"]
TRAIN_COUNTS = [[20, 10, 10], [10, 20, 10]]
SETTINGS = """
data:
  mnist_correlation:
    corruptions: [zigzag, dotted_line]
    p: 0.5
    class_size: 80
    validation_size: 36
    test_size: 48
    min_group_size: 6
translation:
  per_class: true
  take: smallest_group
  generator_filters: [4, 8]
  discriminator_filters: [4, 8]
  norm: batchnorm
  steps: 6
  batch_size: 4
  diagnose_every: 3
  sheet_every: 3
  probe: {filters: [4], steps: 10, batch_size: 4}
augmentation: {batch_size: 4, image_format: jpeg}
training: {method: camel, epochs: 1, steps_per_epoch: 3, batch_size: 3}
evaluation: {baseline: none}
"""


@pytest.fixture
def workspace(make_workspace):
    """With the configuration in it."""
    workspace = make_workspace("workspace")
    (workspace.folder / "toy.yaml").write_text(SETTINGS)
    return workspace


def test_three_subgroups_go_through_both_stages(workspace):
    code, output = workspace.run("model-patching", "run", "toy.yaml")
    assert code == 0, output
    for label, name in enumerate(CLASSES):
        assert f"✓ CycleGANTrainer_{label}_{name}" in output
        model = workspace.latest(f"CycleGANTrainer_{label}_{name}", "model")
        description = json.loads((model / "translators.json").read_text())
        assert description["label"] == label and len(description["pairs"]) == 6
        assert {row["class"] for row in description["diagnostics"]} == {name}

    (built,) = (workspace.folder / "runs" / "data").iterdir()
    assert json.loads((built / "manifest.json").read_text())["counts"]["train"] == TRAIN_COUNTS
    folder = workspace.latest("Augmenter", "examples") / "Split-train"
    records = [deserialize(record.numpy()) for record in read_records(sorted(folder.glob("*")))]
    assert len(records) == sum(map(sum, TRAIN_COUNTS))
    for record in records:
        assert len(record.patched_images) == 3
        assert all(image.startswith(b"\xff\xd8") for image in record.patched_images)  # JPEG

    summary = json.loads((workspace.latest("SubgroupReport", "report") / "summary.json").read_text())
    assert len(summary["groups"]) == 6
    directions = {
        (row["class"], row["source"], row["target"]) for row in summary["translation"]["directions"]
    }
    assert directions == {(c, s, t) for c in CLASSES for s in SUBGROUPS for t in SUBGROUPS if s != t}
    report = (workspace.latest("SubgroupReport", "report") / "report.html").read_text()
    for pair in ("clean ↔ zigzag", "clean ↔ dotted_line", "zigzag ↔ dotted_line"):
        assert pair in report
