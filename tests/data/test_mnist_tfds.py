"""Digits of tensorflow_datasets, by a module of that name which has what is used of it: it isn't in the lock.

Against the package itself it was tried by hand, with `mnist` and `mnist_corrupted/zigzag` prepared from local files.
"""

import json
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from model_patching.data import mnist_correlation
from model_patching.data.mnist_digits import DigitsError, EmbeddedDigits
from model_patching.data.mnist_tfds import CORRUPTIONS, TfdsDigits, TfdsMnistCorrelationSettings

STAND_IN = '''
"""As tensorflow_datasets 4.9, for data sets that are <data_dir>/<name>/<split>.npz."""
from pathlib import Path
import numpy as np

class ReadConfig:
    def __init__(self, interleave_cycle_length=16):
        self.interleave_cycle_length = interleave_cycle_length

def load(name, *, split=None, data_dir=None, batch_size=None, shuffle_files=False, download=True,
         read_config=None):
    assert batch_size == -1 and not shuffle_files and read_config.interleave_cycle_length == 1
    path = Path(data_dir, name, f"{split}.npz")
    if download and not path.exists():
        raise OSError("no network\\nhere")
    assert path.exists(), f"Dataset {name}: could not find data in {data_dir}."
    return dict(np.load(path))

def as_numpy(dataset):
    return dataset
'''
ORDERS = {
    name: np.random.default_rng(0).permutation(size) for name, size in (("train", 60000), ("test", 10000))
}


@pytest.fixture(scope="module")
def digits():
    """With zigzags and dotted lines, in another order than the embedded ones have: tfds shuffles them."""
    embedded = EmbeddedDigits(("zigzag", "dotted_line"), seed=5).read()
    return {
        name: (of_split.labels[ORDERS[name]], [images[ORDERS[name]] for images in of_split.images])
        for name, of_split in embedded.items()
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, digits):
    """A folder of data of tfds."""
    folder = tmp_path_factory.mktemp("tfds")
    for split, (labels, images) in digits.items():
        for name, pixels in zip(
            ("mnist", "mnist_corrupted/zigzag", "mnist_corrupted/fog"), images, strict=True
        ):
            write(folder, name, split, pixels, labels)
    return folder


def write(folder, name, split, images, labels):
    path = folder / name / f"{split}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, image=images[..., None], label=labels.astype(np.int64))


@pytest.fixture
def tfds(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "tensorflow_datasets.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "tensorflow_datasets", raising=False)
    yield
    sys.modules.pop("tensorflow_datasets", None)


def test_a_digit_and_its_corrupted_version_are_found(tfds, prepared, digits):
    found = TfdsDigits(("zigzag", "fog"), prepared).read()
    for split, (labels, images) in digits.items():
        np.testing.assert_array_equal(found[split].labels, labels)
        assert found[split].labels.dtype == np.uint8
        for of_subgroup, expected in zip(found[split].images, images, strict=True):
            np.testing.assert_array_equal(of_subgroup, expected)


def test_records_are_made_of_them(tfds, prepared, digits, tmp_path):
    from model_patching.data import schema

    settings = TfdsMnistCorrelationSettings(corruptions=("fog",), class_size=200, test_size=40, p=0.9)
    source = TfdsDigits(settings.corruptions, prepared)
    manifest = mnist_correlation.build(settings, 1, tmp_path / "out", digits=source)
    assert manifest["dataset"]["subgroups"] == ["clean", "fog"]
    assert manifest["counts"]["train"] == [[90, 10], [10, 90]]
    assert sorted(manifest["inputs"]["sources"]) == [
        "mnist/test",
        "mnist/train",
        "mnist_corrupted/fog/test",
        "mnist_corrupted/fog/train",
    ]
    assert all(len(checksum) == 64 for checksum in manifest["inputs"]["sources"].values())
    for split in ("train", "test"):
        paths = sorted((tmp_path / "out" / split).iterdir())
        for item in schema.read_records(paths).as_numpy_iterator():
            record = schema.deserialize(item)
            _, name, index, _ = record.example_id.split("-")
            labels, images = digits[name]
            assert record.label == labels[int(index)] % 2
            pixels = images[2 if record.subgroup else 0][int(index)]
            np.testing.assert_array_equal(schema.tf.io.decode_png(record.image).numpy()[..., 0], pixels)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest


def test_checksums_follow_the_pixels(tfds, prepared, digits, tmp_path):
    one = TfdsDigits(("zigzag",), prepared).checksums()
    assert one == TfdsDigits(("zigzag",), prepared).checksums()
    other = TfdsDigits(("fog",), prepared).checksums()
    assert one["mnist/train"] == other["mnist/train"]
    assert one["mnist_corrupted/zigzag/train"] != other["mnist_corrupted/fog/train"]


def test_the_settings_take_every_corruption_of_mnist_c():
    for corruption in CORRUPTIONS:
        assert TfdsMnistCorrelationSettings(corruptions=(corruption,)).corruptions == (corruption,)
    with pytest.raises(ValidationError, match="corruptions"):
        TfdsMnistCorrelationSettings(corruptions=("snow",))


def message(source):
    with pytest.raises(DigitsError) as caught:
        source.read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_the_package_it_is_said_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    text = message(TfdsDigits(("zigzag",), tmp_path))
    assert text.startswith("tensorflow_datasets can't be imported (")
    assert "pip install tensorflow-datasets" in text


def test_data_that_is_not_there_is_named(tfds, tmp_path):
    text = message(TfdsDigits(("zigzag",), tmp_path / "nothing"))
    assert text.startswith(f"tensorflow_datasets: mnist is not in {tmp_path}/nothing; give the folder")
    text = message(TfdsDigits(("zigzag",), tmp_path / "nothing", download=True))
    assert text == "tensorflow_datasets: mnist can't be loaded: no network here"


def test_other_digits_are_refused(tfds, digits, tmp_path):
    labels, (clean, zigzag, _) = digits["train"]
    write(tmp_path, "mnist", "train", clean, labels)
    write(tmp_path, "mnist_corrupted/zigzag", "train", zigzag[::-1], labels[::-1])
    text = message(TfdsDigits(("zigzag",), tmp_path))
    first = int(np.flatnonzero(labels != labels[::-1])[0])
    assert text == (
        "tensorflow_datasets: mnist_corrupted/zigzag/train doesn't have the digits of mnist/train in the same order: "
        f"record {first} is a {labels[::-1][first]} instead of a {labels[first]}"
    )
    write(tmp_path, "mnist_corrupted/zigzag", "train", zigzag[:-1], labels[:-1])
    assert message(TfdsDigits(("zigzag",), tmp_path)).endswith("same order: 59999 instead of 60000")
    write(tmp_path, "mnist", "train", clean[:100], labels[:100])
    write(tmp_path, "mnist_corrupted/zigzag", "train", zigzag[:100], labels[:100])
    even = int((labels[:100] % 2 == 0).sum())
    assert message(TfdsDigits(("zigzag",), tmp_path)) == (
        f"tensorflow_datasets: mnist/train has {even} even and {100 - even} odd digits, MNIST has 29492 and 30508"
    )
    write(tmp_path, "mnist", "train", clean[:100, :27], labels[:100])
    assert "mnist/train has images uint8 [27, 28, 1], expected uint8 [28, 28, 1]" in message(
        TfdsDigits(("zigzag",), tmp_path)
    )
