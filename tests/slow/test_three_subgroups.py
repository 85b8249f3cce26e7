"""Three subgroups (clean, zigzag, dotted line), a model of translators for each class, and the whole pipeline."""

import json

import numpy as np
import pytest
import tensorflow as tf

from model_patching.data import idx, schema
from model_patching.data.corruptions import zigzag
from model_patching.data.mnist_correlation import DIGITS
from model_patching.data.schema import Record, deserialize, read_records

CLASSES, SUBGROUPS = ["even", "odd"], ["clean", "zigzag", "dotted line"]
COUNTS = {
    "train": ((20, 6, 10), (6, 20, 10)),
    "validation": ((6, 6, 6), (6, 6, 6)),
    "test": ((8, 8, 8), (8, 8, 8)),
}
SETTINGS = """
data:
  records: records
  dataset: {classes: [even, odd], subgroups: [clean, zigzag, dotted line], image_shape: [28, 28, 1]}
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


def dotted_line(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A white dot at every third column, on a line from the left edge to the right one."""
    image = image.copy()
    columns = np.arange(1, 28, 3)
    rows = np.rint(np.linspace(*generator.integers(4, 24, 2), len(columns))).astype(int)
    image[rows, columns] = 255
    return image


@pytest.fixture
def workspace(make_workspace):
    """With the records in it."""
    workspace = make_workspace("workspace")
    checksums = idx.read_checksums(DIGITS / "SHA256SUMS")
    images, labels = (
        read(DIGITS / name, checksums[name])
        for read, name in (
            (idx.read_images, "train-images-idx3-ubyte.gz"),
            (idx.read_labels, "train-labels-idx1-ubyte.gz"),
        )
    )
    generator = np.random.default_rng(0)
    unused = [list(np.flatnonzero(labels % 2 == label)) for label in range(2)]
    for split, counts in COUNTS.items():
        path = schema.shard_path(workspace.folder / "records", split, 0, 1)
        path.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path), options=schema.COMPRESSION) as writer:
            for label, row in enumerate(counts):
                for subgroup, count in enumerate(row):
                    for _ in range(count):
                        number = unused[label].pop()
                        image = images[number]
                        if subgroup == 1:
                            image = zigzag(image[None], generator)[0]
                        if subgroup == 2:
                            image = dotted_line(image, generator)
                        encoded = tf.io.encode_png(image.reshape(28, 28, 1)).numpy()
                        writer.write(schema.serialize(Record(encoded, label, subgroup, f"digit-{number}")))
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

    folder = workspace.latest("Augmenter", "examples") / "Split-train"
    records = [deserialize(record.numpy()) for record in read_records(sorted(folder.glob("*")))]
    assert len(records) == sum(map(sum, COUNTS["train"]))
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
    for pair in ("clean ↔ zigzag", "clean ↔ dotted line", "zigzag ↔ dotted line"):
        assert pair in report
