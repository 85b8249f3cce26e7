"""Waterbirds and CelebA-Undersampled from files in their published formats, through both stages."""

import json

import pytest

# Of a split, the images of each group [y][z].
COUNTS = {"train": [[20, 9], [7, 14]], "validation": [[6, 5], [4, 6]], "test": [[5, 5], [6, 4]]}
TAKEN = 11  # of CelebA's group (0, 0)
SETTINGS = """
data: {records: records}
translation:
  per_class: true
  take: smallest_group
  generator_filters: [4, 8]
  discriminator_filters: [4, 8]
  norm: batchnorm
  gan_loss: bce
  augmentation: {flip_left_right: 0.5, crop: 0.1}
  steps: 4
  batch_size: 4
  diagnose_every: 2
  sheet_every: 4
  probe: {filters: [4], steps: 4, batch_size: 4}
augmentation: {batch_size: 4, image_format: jpeg}
training: {method: camel, epochs: 1, steps_per_epoch: 2, batch_size: 2}
evaluation: {baseline: none}
"""


def groups_of(counts):
    """The (label, subgroup) of each image, one group after the other in turn."""
    left = {(y, z): count for y, row in enumerate(counts) for z, count in enumerate(row)}
    groups = []
    while any(left.values()):
        for group in left:
            if left[group]:
                groups.append(group)
                left[group] -= 1
    return groups


def waterbirds(folder, write_waterbirds, write_celeba):
    numbers = {"train": 0, "validation": 1, "test": 2}
    birds = [(numbers[split], y, z) for split, counts in COUNTS.items() for y, z in groups_of(counts)]
    write_waterbirds(folder, birds, [13, 1, len(birds) - 14])
    return ["waterbirds"], COUNTS, ("landbird", "waterbird")


def celeba_undersampled(folder, write_waterbirds, write_celeba):
    names = {"train": "train", "validation": "val", "test": "test"}
    attributes = ("Blond_Hair", "Male")
    faces = {
        names[split]: [
            {name for name, value in zip(attributes, group, strict=True) if value}
            for group in groups_of(counts)
        ]
        for split, counts in COUNTS.items()
    }
    write_celeba(folder, faces, {split: [3, len(found) - 3] for split, found in faces.items()})
    (_, *first), *other = COUNTS["train"]
    counts = COUNTS | {"train": [[TAKEN, *first], *other]}
    return ["celeba-undersampled", "--take", f"0,0={TAKEN}"], counts, ("not_blond", "blond")


@pytest.mark.parametrize("write", [waterbirds, celeba_undersampled], ids=lambda write: write.__name__)
def test_published_files_go_through_both_stages(write, make_workspace, write_waterbirds, write_celeba):
    workspace = make_workspace("workspace")
    arguments, counts, classes = write(workspace.folder / "source", write_waterbirds, write_celeba)
    code, output = workspace.run(
        *("model-patching", "data", "build", *arguments),
        *("--source", "source", "--output", "records", "--image-size", "16", "--resize"),
    )
    assert code == 0, output
    manifest = json.loads((workspace.folder / "records" / "manifest.json").read_text())
    assert manifest["counts"] == counts

    (workspace.folder / "toy.yaml").write_text(SETTINGS)
    code, output = workspace.run("model-patching", "run", "toy.yaml")
    assert code == 0, output
    for label, name in enumerate(classes):
        assert f"✓ CycleGANTrainer_{label}_{name}" in output
    summary = json.loads((workspace.latest("SubgroupReport", "report") / "summary.json").read_text())
    assert [group["count"] for group in summary["groups"]] == [n for row in counts["test"] for n in row]
    assert len(summary["translation"]["directions"]) == 4
