import pickle
import re

import numpy as np
import pytest
import tensorflow as tf

from model_patching.data.mnist_npy import MnistNpy
from model_patching.data.source import SourceError

SIZES = {"train": 5, "val": 3, "test": 4}
NAMED = "{split}_{array}.npy"
LABELS = {"train": [0, 7, 2, 9, 4], "val": [1, 2, 3], "test": [8, 1, 0, 5]}
SUBGROUPS = {"train": [0, 1, 1, 0, 0], "val": [1, 0, 1], "test": [0, 1, 1, 0]}


def write(folder, pattern=NAMED, arrays=("images", "labels", "subgroups"), rank=3):
    for split, size in SIZES.items():
        pixels = np.random.default_rng(size).integers(0, 256, (size, 28, 28)).astype(np.uint8)
        if rank == 4:
            pixels = pixels[..., None]
        values = (pixels, np.array(LABELS[split]), np.array(SUBGROUPS[split]))
        for array, value in zip(arrays, values, strict=True):
            path = folder / pattern.format(split=split, array=array)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, value)


@pytest.mark.parametrize(
    "pattern, arrays, rank",
    [
        (NAMED, ("images", "labels", "subgroups"), 3),
        ("mnist_correlation_npy/{split}-{array}.npy", ("X", "y", "z"), 4),
        ("zigzag sets/{split}/{array}.npy", ("image", "label", "zigzag"), 3),
    ],
)
def test_the_arrays_are_found_by_their_names(tmp_path, pattern, arrays, rank):
    write(tmp_path, pattern, arrays, rank)
    np.save(tmp_path / "notes.npy", np.zeros(3))  # of no split
    source = pickle.loads(pickle.dumps(MnistNpy(tmp_path)))
    assert source.parts() == ["train", "validation", "test"]
    assert source.dataset.group_names == ("even / clean", "even / zigzag", "odd / clean", "odd / zigzag")
    ids = set()
    for split, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        pixels = np.load(tmp_path / pattern.format(split=name, array=arrays[0])).reshape(-1, 28, 28)
        found = list(source.read(split))
        for number, image in enumerate(found):
            assert image.split == split
            assert image.label == LABELS[name][number] % 2 and image.subgroup == SUBGROUPS[name][number]
            np.testing.assert_array_equal(tf.io.decode_png(image.image).numpy()[..., 0], pixels[number])
            assert image.place.endswith(f"{arrays[0]}.npy, record {number}")
            ids.add(image.example_id)
        surveyed = [(image.example_id, image.label, image.subgroup) for image in source.survey(split)]
        assert surveyed == [(image.example_id, image.label, image.subgroup) for image in found]
    assert len(ids) == 12


def test_parities_stay_parities(tmp_path):
    write(tmp_path)
    np.save(tmp_path / "train_labels.npy", np.array([0, 1, 1, 0, 1], np.uint8))
    assert [image.label for image in MnistNpy(tmp_path).survey("train")] == [0, 1, 1, 0, 1]


def test_the_inputs_are_the_files_and_no_places(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    one, two = MnistNpy(tmp_path / "a").inputs(), MnistNpy(tmp_path / "b").inputs()
    assert one == two and sorted(one["files"])[0] == "test_images.npy" and len(one["files"]) == 9
    np.save(tmp_path / "b" / "val_labels.npy", np.array([1, 2, 4]))
    assert MnistNpy(tmp_path / "b").inputs() != one


def refused(folder):
    with pytest.raises(SourceError) as caught:
        MnistNpy(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_in_which_they_are_not_found_is_told_with_all_that_it_has(tmp_path):
    write(tmp_path)
    (tmp_path / "val_subgroups.npy").rename(tmp_path / "val_b.npy")
    text = refused(tmp_path)
    assert text.startswith(
        f"{tmp_path}: no array could be the subgroup of validation; name one validation_subgroups.npy; found test_im"
    )
    assert "test_images.npy (uint8 [4, 28, 28]), test_labels.npy (int64 [4])" in text and "val_b.npy" in text
    np.save(tmp_path / "val_z.npy", np.zeros(3, int))
    np.save(tmp_path / "val_zigzag.npy", np.zeros(3, int))
    assert ": val_z.npy, val_zigzag.npy could be the subgroup of validation; " in refused(tmp_path)
    assert "found no .npy file" in refused(tmp_path / "nothing")


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("train_images", np.zeros((5, 28, 27), np.uint8), r"expected images, .* found uint8 \[5, 28, 27\]"),
        ("train_images", np.zeros((5, 28, 28)), r"expected images, .* found float64"),
        ("test_labels", np.zeros(3, int), r"a whole number for each of 4 images, found int64 \[3\]"),
        ("test_subgroups", np.zeros(4), "a whole number for each of 4 images, found float64"),
    ],
)
def test_an_array_of_another_shape_is_refused(tmp_path, name, value, message):
    write(tmp_path)
    np.save(tmp_path / f"{name}.npy", value)
    text = refused(tmp_path)
    assert text.startswith(f"{tmp_path}/{name}.npy: ") and re.search(message, text)


@pytest.mark.parametrize("label", [12, -1])
def test_a_label_that_is_no_digit_is_refused(tmp_path, label):
    write(tmp_path)
    np.save(tmp_path / "test_labels.npy", np.array([8, 1, label, 5]))
    assert refused(tmp_path) == (
        f"{tmp_path}/test_labels.npy: has {label}; labels are digits, 0 to 9, or their parity, 0 and 1"
    )


def test_a_file_that_is_no_array_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "train_labels.npy").write_bytes(b"nothing")
    assert refused(tmp_path).startswith(f"{tmp_path}/train_labels.npy: can't be read as an array: ")
    path = tmp_path / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    np.save(tmp_path / "train_labels.npy", np.array(LABELS["train"]))
    assert refused(tmp_path).startswith(f"{path}: can't be read as an array: ")
