"""CelebA-Undersampled from files in the published formats, its patched images included: stage 2 without a CycleGAN."""

import json

import numpy as np
import pytest
import tensorflow as tf

from model_patching.data.celeba import ATTRIBUTES
from model_patching.data.schema import deserialize, read_records

COUNTS = {"train": [[60, 21], [17, 12]], "val": [[12, 9], [8, 8]], "test": [[9, 8], [8, 8]]}
FILES = {"train": (31, 50, 3, 26), "val": (20, 17), "test": (33,)}  # records of each
SHARD = 7  # records of a file of patched images: the last one of a group has several
TAKE = 19  # of (0, 0) in the training split
FILES_AT_ONCE = 3
RUNS = ("xbqhzkx3", "xs4l2gi0")  # of each class
SPLITS = {"train": "train", "val": "validation", "test": "test"}
SETTINGS = """
data: {records: records}
patching: {source: published, folder: patches}
augmentation: {splits: [train, validation], records_per_shard: 10}
training: {method: camel, epochs: 1, steps_per_epoch: 3, batch_size: 3}
baseline: {epochs: 1, steps_per_epoch: 3, batch_size: 3}
evaluation: {baseline: erm, max_worst_group_drop: 1.0}
"""


def encode(pixels):
    """As the research code does it."""
    return tf.image.encode_jpeg(pixels, optimize_size=True, chroma_downsampling=False).numpy()


def group_folder(patches, split, label, subgroup):
    name = f"celeb_a_128.Blond_Hair.Male.1.0.{label}.{subgroup}.y"
    name += f".{TAKE}" if (split, label, subgroup) == ("train", 0, 0) else ""
    return patches / f"[{name}].[2.*.*].{'test' if split == 'test' else f'{split}.0.000'}"


@pytest.fixture
def workspace(make_workspace, write_tfrec):
    """With the published files in it; `expected` has the patched images of each image that has some."""
    workspace = make_workspace("workspace")
    workspace.expected = {}
    source, patches = workspace.folder / "source", workspace.folder / "patches"
    generator = np.random.default_rng(0)
    for split, counts in COUNTS.items():
        groups = [(y, z) for y, row in enumerate(counts) for z, count in enumerate(row) for _ in range(count)]
        groups = [groups[i] for i in generator.permutation(len(groups))]
        coarse = generator.integers(30, 220, (len(groups), 5, 5, 3))
        pictures = tf.image.resize(coarse, (32, 32), method="bicubic")
        pictures = tf.cast(tf.clip_by_value(pictures, 0, 255), tf.uint8).numpy()
        examples = [
            {
                **dict.fromkeys(ATTRIBUTES, 0),
                "Blond_Hair": label,
                "Male": subgroup,
                "image": encode(picture),
            }
            for picture, (label, subgroup) in zip(pictures, groups, strict=True)
        ]
        ends = np.cumsum([0, *FILES[split]])
        for number, (start, end) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
            write_tfrec(source / split / f"{number:02d}-{end - start}.tfrec", examples[start:end])

        files = tf.data.Dataset.list_files(f"{source}/{split}/*.tfrec", shuffle=False)
        read = tf.data.TFRecordDataset(files, num_parallel_reads=FILES_AT_ONCE)
        read = [tf.train.Example.FromString(item).features.feature for item in read.as_numpy_iterator()]
        for label, subgroup in sorted(set(groups)):
            of_group = [
                features["image"].bytes_list.value[0]
                for features in read
                if features["Blond_Hair"].int64_list.value[0] == label
                and features["Male"].int64_list.value[0] == subgroup
            ]
            folder = group_folder(patches, split, label, subgroup)
            if folder.name.startswith(f"[celeb_a_128.Blond_Hair.Male.1.0.0.0.y.{TAKE}]"):
                of_group = of_group[:TAKE]
            run = (
                f"wandb[hazy-research:celeba:{RUNS[label]}].f_epoch[3400].g_epoch[3400].mode[False].batch[16]"
            )
            for image in of_group:
                pixels = tf.io.decode_jpeg(image).numpy()
                female, male = pixels.copy(), pixels.copy()
                female[:5] = 255 - female[:5] // 3
                male[-5:] = male[-5:] // 3
                workspace.expected[image] = encode(female), encode(male)
            for z, model in enumerate(("gen_g", "gen_f")):
                for start in range(0, len(of_group), SHARD):
                    write_tfrec(
                        folder / f"{run}.model[{model}]" / f"{start // SHARD:02d}-{SHARD}.tfrec",
                        [
                            {"image": workspace.expected[image][z], "label": label}
                            for image in of_group[start : start + SHARD]
                        ],
                    )
    (workspace.folder / "toy.yaml").write_text(SETTINGS)
    return workspace


def test_published_files_go_through_stage_2(workspace):
    code, output = workspace.run(
        *(
            "model-patching",
            "data",
            "build",
            "celeba-undersampled",
            "--source",
            "source",
            "--output",
            "records",
        ),
        *("--image-size", "32", "--take", "none"),
    )
    assert code == 0, output
    code, output = workspace.run("model-patching", "run", "toy.yaml")
    assert code == 0, output
    assert "✓ PublishedPatches" in output
    assert "CycleGANTrainer" not in output and "Augmenter" not in output

    for split, counts in COUNTS.items():
        folder = workspace.latest("PublishedPatches", "examples") / f"Split-{SPLITS[split]}"
        records = [deserialize(record.numpy()) for record in read_records(sorted(folder.glob("*")))]
        left_out = counts[0][0] - TAKE if split == "train" else 0
        assert len(records) == np.sum(counts) - left_out
        for record in records:
            expected = () if split == "test" else workspace.expected[record.image]
            assert record.patched_images == expected

    report = workspace.latest("SubgroupReport", "report")
    summary = json.loads((report / "summary.json").read_text())
    assert summary["translation"] is None
    assert summary["method"] == "camel" and summary["baseline"]["kind"] == "erm"
    assert (report / "report.html").stat().st_size > 1000

    # One patched image too few: the node that fails says which folder, and both numbers.
    folder = next(group_folder(workspace.folder / "patches", "train", 1, 0).glob("*gen_f*"))
    last = max(folder.iterdir())
    items = list(tf.data.TFRecordDataset(str(last)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(last)) as writer:
        for item in items[:-1]:
            writer.write(item)
    code, output = workspace.run("model-patching", "run", "toy.yaml")
    assert code == 1
    assert "✗ PublishedPatches failed" in output
    assert (
        f"patches/{folder.parent.name}/{folder.name}: 16 patched images, but they must be those of 17 records, "
        "group 'blond / female' of the train split" in " ".join(output.split())
    )
