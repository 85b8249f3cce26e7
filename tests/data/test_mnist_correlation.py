import hashlib
import json
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from model_patching.data import idx, mnist_correlation, mnist_digits, schema
from model_patching.data.corruptions import DRAWN
from model_patching.data.mnist_correlation import (
    MnistCorrelationSettings,
    build,
    dataset,
    fingerprint,
    group_counts,
    sample_counts,
    select,
)
from model_patching.data.mnist_digits import DIGITS, EmbeddedDigits

PUBLISHED = MnistCorrelationSettings()
THREE = MnistCorrelationSettings(
    corruptions=("zigzag", "dotted_line"), p=0.8, class_size=81, test_size=30, min_group_size=2
)
SMALL = MnistCorrelationSettings(p=0.9, class_size=80, test_size=24, min_group_size=2)


def labels(name):
    checksums = idx.read_checksums(DIGITS / "SHA256SUMS")
    return idx.read_labels(DIGITS / name, checksums[name])


TRAIN_DIGITS, TEST_DIGITS = labels("train-labels-idx1-ubyte.gz"), labels("t10k-labels-idx1-ubyte.gz")


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def records(folder, split):
    paths = sorted((folder / split).iterdir())
    return [schema.deserialize(item) for item in schema.read_records(paths).as_numpy_iterator()]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "small"
    build(SMALL, seed=1, output_dir=folder)
    return folder


def test_the_defaults_give_the_published_groups():
    splits = select(PUBLISHED, 1, TRAIN_DIGITS % 2, TEST_DIGITS % 2)
    sizes = {split: [len(group) for group in groups] for split, groups in splits.items()}
    assert sizes == {
        "train": [9900, 100, 100, 9900],
        "validation": [9900, 100, 100, 9900],
        "test": [4926, 4926, 5074, 5074],
    }


def test_the_bounds_of_the_settings_are_mnists():
    assert np.bincount(TRAIN_DIGITS % 2).min() == mnist_correlation.FEWEST_TRAINING_DIGITS
    assert 2 * len(TEST_DIGITS) == group_counts(PUBLISHED, "test").sum()


def test_groups_have_the_right_parity_and_share_no_digit():
    splits = select(PUBLISHED, 1, TRAIN_DIGITS % 2, TEST_DIGITS % 2)
    seen = np.concatenate(splits["train"] + splits["validation"])
    assert len(np.unique(seen)) == 40000
    for split, digits in (("train", TRAIN_DIGITS), ("validation", TRAIN_DIGITS), ("test", TEST_DIGITS)):
        for group, indices in enumerate(splits[split]):
            assert set(digits[indices] % 2) == {group // 2}
    for label in (0, 1):
        np.testing.assert_array_equal(splits["test"][2 * label], splits["test"][2 * label + 1])
        assert len(np.unique(splits["test"][2 * label])) == len(splits["test"][2 * label])


def test_another_seed_draws_other_digits():
    one, two = (select(PUBLISHED, seed, TRAIN_DIGITS % 2, TEST_DIGITS % 2)["train"][1] for seed in (1, 2))
    assert set(one) != set(two)


def test_a_sample_is_a_part_of_the_full_split():
    settings = PUBLISHED.model_copy(update={"train_size": 2000, "test_size": 400, "min_group_size": 50})
    sample = select(settings, 1, TRAIN_DIGITS % 2, TEST_DIGITS % 2)
    full = select(PUBLISHED, 1, TRAIN_DIGITS % 2, TEST_DIGITS % 2)
    assert [len(group) for group in sample["train"]] == [950, 50, 50, 950]
    assert sum(len(group) for group in sample["test"]) == 400
    assert [len(group) for group in sample["validation"]] == [9900, 100, 100, 9900]
    for split in ("train", "test"):
        for part, whole in zip(sample[split], full[split], strict=True):
            assert set(part) <= set(whole)


@pytest.mark.parametrize(
    "counts, size, smallest, expected",
    [
        ([9900, 100, 100, 9900], 2000, 1, [990, 10, 10, 990]),
        ([9900, 100, 100, 9900], 2000, 60, [940, 60, 60, 940]),
        ([9900, 100, 100, 9900], 2000, 500, [900, 100, 100, 900]),
        ([9900, 100, 100, 9900], 20000, 1, [9900, 100, 100, 9900]),
        ([10, 10, 10], 11, 1, [4, 4, 3]),  # remainders are equal: the first groups get them
        ([60, 25, 15], 10, 1, [6, 3, 1]),  # 6, 2.5, 1.5
        (
            [100, 8, 2],
            22,
            4,
            [16, 4, 2],
        ),  # 2 of the third are all it has; then 20 over 100 + 8 leaves the second 1.48
        ([5, 5], 10, 7, [5, 5]),
    ],
)
def test_sample_counts(counts, size, smallest, expected):
    assert sample_counts(np.array(counts), size, smallest).tolist() == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"p": 1.0}', "p\n"),
        ('{"class_size": 29493}', "class_size"),
        ('{"class_size": 40, "p": 0.99}', "leave a group of train empty"),
        ('{"class_size": 50, "p": 0.98}', "leave a group of validation empty"),
        ('{"train_size": 20001}', "train_size 20001 is more than the 20000 records"),
        ('{"test_size": 20001}', "test_size 20001 is more than the 20000 records"),
        (
            '{"train_size": 300, "min_group_size": 100}',
            "train_size 300 is too small for min_group_size 100: needs 400",
        ),
        ('{"corruptions": []}', "corruptions"),
        ('{"corruptions": ["fog"]}', "corruptions"),
        ('{"corruptions": ["stripe", "stripe"]}', "the corruptions must differ, got stripe, stripe"),
        ('{"train": 3}', "train"),
        ('{"train_size": 2000.5}', "train_size"),
    ],
)
def test_impossible_settings_are_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        MnistCorrelationSettings.model_validate_json(text)


def test_the_records_are_the_digits_with_and_without_zigzag(small):
    checksums = idx.read_checksums(DIGITS / "SHA256SUMS")
    pixels = {
        source: idx.read_images(
            DIGITS / f"{name}-images-idx3-ubyte.gz", checksums[f"{name}-images-idx3-ubyte.gz"]
        )
        for source, name in (("train", "train"), ("test", "t10k"))
    }
    digits = {"train": TRAIN_DIGITS, "test": TEST_DIGITS}
    for split, total in (("train", 80), ("validation", 80), ("test", 24)):
        found = records(small, split)
        assert len({record.example_id for record in found}) == len(found) == total
        for record in found:
            _, source, index, subgroup = record.example_id.split("-")
            assert source == ("test" if split == "test" else "train")
            assert record.label == digits[source][int(index)] % 2
            assert subgroup == ("clean", "zigzag")[record.subgroup]
            image = tf.io.decode_png(record.image).numpy()
            assert image.shape == (28, 28, 1) and record.image.startswith(b"\x89PNG")
            added = image[..., 0].astype(int) - pixels[source][int(index)]
            assert added.min() >= 0
            assert added.any() == (record.subgroup == 1)


def test_the_manifest_counts_what_is_in_the_files(small):
    manifest = json.loads((small / "manifest.json").read_text())
    for split in ("train", "validation", "test"):
        counts = Counter((record.label, record.subgroup) for record in records(small, split))
        assert [[counts[label, z] for z in (0, 1)] for label in (0, 1)] == manifest["counts"][split]
    assert manifest["counts"]["train"] == [[36, 4], [4, 36]]
    assert sum(map(sum, manifest["counts"]["test"])) == 24
    assert manifest["dataset"] == {
        "classes": ["even", "odd"],
        "subgroups": ["clean", "zigzag"],
        "image_shape": [28, 28, 1],
    }
    assert manifest["name"] == "mnist_correlation"
    assert "Yann LeCun" in manifest["citation"] and manifest["licence"].startswith("CC BY-SA 3.0")
    assert manifest["inputs"]["seed"] == 1
    assert manifest["inputs"]["settings"] == SMALL.model_dump(mode="json")
    assert len(manifest["inputs"]["sources"]) == 4


def digest(folder):
    """Over every record of a folder in its order, decoded: PNG's bytes may differ between versions of libpng."""
    found = hashlib.sha256()
    for split in ("train", "validation", "test"):
        for record in records(folder, split):
            found.update(f"{split} {record.example_id} {record.label} {record.subgroup} ".encode())
            found.update(tf.io.decode_png(record.image).numpy().tobytes())
    return found.hexdigest()


def test_the_records_are_still_those_that_results_were_published_for(small):
    assert digest(small) == "d2077d6dbc5370c1ddaf101944b05351c0e478d1d41998741f684f49b11c18b1"


def test_several_corruptions_share_what_is_left_of_a_class(tmp_path):
    build(THREE, 1, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    # 65 of the 81 digits of a class are its usual ones, the 16 others are shared out; half of each is held out.
    assert manifest["counts"] == {
        "train": [[33, 4, 4], [4, 33, 4]],
        "validation": [[32, 4, 4], [4, 32, 4]],
        "test": [[5, 5, 5], [5, 5, 5]],
    }
    assert manifest["dataset"]["subgroups"] == ["clean", "zigzag", "dotted_line"]
    assert dataset(THREE).subgroups == ("clean", "zigzag", "dotted_line")
    digits = EmbeddedDigits(THREE.corruptions, seed=1).read()
    for split in ("train", "validation", "test"):
        found = records(tmp_path / "out", split)
        assert len({record.example_id for record in found}) == len(found)
        for record in found:
            _, source, index, name = record.example_id.split("-")
            assert name == ("clean", "zigzag", "dotted_line")[record.subgroup]
            image = digits[source].images[record.subgroup][int(index)]
            np.testing.assert_array_equal(tf.io.decode_png(record.image).numpy()[..., 0], image)


def test_what_is_left_over_by_sharing_out_goes_to_the_first():
    settings = MnistCorrelationSettings(corruptions=("stripe", "zigzag", "dotted_line"), p=0.8, class_size=60)
    assert (group_counts(settings, "train") + group_counts(settings, "validation")).tolist() == [
        [48, 4, 4, 4],
        [4, 48, 4, 4],
    ]
    settings = settings.model_copy(update={"class_size": 61})  # 49 usual ones
    counts = group_counts(settings, "train") + group_counts(settings, "validation")
    assert counts.tolist() == [[49, 4, 4, 4], [4, 49, 4, 4]]
    settings = settings.model_copy(update={"class_size": 64})  # 51
    counts = group_counts(settings, "train") + group_counts(settings, "validation")
    assert counts.tolist() == [[51, 5, 4, 4], [5, 51, 4, 4]]


def test_a_digit_keeps_its_corruption_whatever_others_there_are():
    alone = EmbeddedDigits(("dotted_line",), seed=3).read()["test"]
    among = EmbeddedDigits(("zigzag", "stripe", "dotted_line"), seed=3).read()["test"]
    np.testing.assert_array_equal(alone.images[1], among.images[3])
    np.testing.assert_array_equal(alone.images[0], among.images[0])


def test_the_settings_know_every_corruption_that_can_be_drawn():
    for corruption in DRAWN:
        assert dataset(MnistCorrelationSettings(corruptions=(corruption,))).subgroups == ("clean", corruption)


def test_records_are_mixed(small):
    subgroups = [record.subgroup for record in records(small, "train")]
    assert subgroups != sorted(subgroups)


def test_a_test_digit_keeps_its_zigzag_whatever_the_sizes(small, tmp_path):
    build(SMALL.model_copy(update={"test_size": 200}), 1, tmp_path / "more")
    larger = {record.example_id: record.image for record in records(tmp_path / "more", "test")}
    shared = [record for record in records(small, "test") if record.example_id in larger]
    assert shared
    for record in shared:
        assert larger[record.example_id] == record.image


def test_a_seed_fixes_every_byte_and_another_changes_them(small, tmp_path):
    build(SMALL, 1, tmp_path / "again")
    build(SMALL, 2, tmp_path / "other")
    assert files(tmp_path / "again") == files(small)
    assert (
        files(tmp_path / "other")["train/data-00000-of-00001.tfrecord.gz"]
        != (files(small)["train/data-00000-of-00001.tfrecord.gz"])
    )


def test_another_seed_draws_another_zigzag_over_a_digit(tmp_path):
    drawn = []
    for seed in (1, 2):
        build(SMALL.model_copy(update={"test_size": 1000}), seed, tmp_path / str(seed))
        drawn.append(
            {r.example_id: r.image for r in records(tmp_path / str(seed), "test") if r.subgroup == 1}
        )
    shared = drawn[0].keys() & drawn[1].keys()
    assert len(shared) > 10
    # 1 in 270 zigzags is the same by chance.
    assert sum(drawn[0][example_id] != drawn[1][example_id] for example_id in shared) > 0.9 * len(shared)


def test_shards_split_the_records(tmp_path, monkeypatch, small):
    monkeypatch.setattr(mnist_correlation, "RECORDS_PER_SHARD", 30)
    seen = []
    build(SMALL, 1, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert [path.name for path in sorted((tmp_path / "out" / "train").iterdir())] == [
        f"data-0000{i}-of-00003.tfrecord.gz" for i in range(3)
    ]
    assert records(tmp_path / "out", "train") == records(small, "train")
    assert seen == [(27, 184), (54, 184), (80, 184), (107, 184), (134, 184), (160, 184), (184, 184)]


def test_the_fingerprint_follows_settings_and_seed():
    one = fingerprint(SMALL, 1)
    assert len(one) == 12 and one == fingerprint(SMALL, 1)
    assert len({one, fingerprint(SMALL, 2), fingerprint(PUBLISHED, 1)}) == 3


def test_a_damaged_digit_file_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    for path in DIGITS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "t10k-images-idx3-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:-1])
    monkeypatch.setattr(mnist_digits, "DIGITS", tmp_path)
    with pytest.raises(idx.IdxError, match=f"{broken}: damaged"):
        build(SMALL, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.partial").exists()


KILLED_BUILD = """
import sys, time
from model_patching.data.mnist_correlation import MnistCorrelationSettings, build
def progress(done, total):
    print(done, flush=True)
    time.sleep(60)
build(MnistCorrelationSettings.model_validate_json(sys.argv[1]), 1, sys.argv[2], progress)
"""


def test_a_killed_build_looks_unfinished_and_the_next_is_the_same(small, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED_BUILD, SMALL.model_dump_json(), str(out)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "80\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not out.exists()
    assert not list(tmp_path.rglob("manifest.json")) and list(tmp_path.rglob("*.tfrecord.gz"))
    build(SMALL, 1, out)
    assert files(out) == files(small)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_settings_are_read_without_tensorflow():
    code = "import sys, model_patching.data.mnist_correlation; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
