import gzip
import hashlib
import struct

import numpy as np
import pytest

from model_patching.data.idx import IdxError, read_checksums, read_images, read_labels


def write(path, content):
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def image_file(values=range(12), shape=(2, 2, 3), magic=0x803):
    return gzip.compress(struct.pack(">4I", magic, *shape) + bytes(values))


def test_images_and_labels(tmp_path):
    images, labels = tmp_path / "images.gz", tmp_path / "labels.gz"
    checksum = write(images, image_file())
    read = read_images(images, checksum)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, np.arange(12).reshape(2, 2, 3))
    checksum = write(labels, gzip.compress(struct.pack(">2I", 0x801, 3) + b"\x07\x00\x02"))
    assert read_labels(labels, checksum).tolist() == [7, 0, 2]


@pytest.mark.parametrize(
    "content, message",
    [
        (image_file()[:-9], "not a whole gzip file"),
        (b"no gzip", "not a whole gzip file"),
        (image_file(values=range(11)), "27 bytes, expected 28"),
        (image_file(magic=0x801), "magic number is 0x00000801, expected 0x00000803"),
        (gzip.compress(b"\x00\x00\x08"), "truncated: 3 bytes"),
    ],
    # A gzip file holds the time, which would name the tests otherwise in each process.
    ids=["cut off", "not gzip", "a value short", "labels", "three bytes"],
)
def test_damaged_files_are_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "images.gz"
    checksum = write(path, content)
    with pytest.raises(IdxError, match=message) as caught:
        read_images(path, checksum)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_another_checksum_and_a_missing_file_are_errors(tmp_path):
    path = tmp_path / "images.gz"
    checksum = write(path, image_file())
    path.write_bytes(image_file(values=range(1, 13)))
    with pytest.raises(IdxError, match=f"expected {checksum}"):
        read_images(path, checksum)
    with pytest.raises(IdxError, match="missing.gz: can't be read: No such file"):
        read_images(tmp_path / "missing.gz", checksum)


def test_checksum_lists(tmp_path):
    path = tmp_path / "SHA256SUMS"
    path.write_text(f"{'a' * 64}  one.gz\n{'b' * 64}  two.gz\n")
    assert read_checksums(path) == {"one.gz": "a" * 64, "two.gz": "b" * 64}
    path.write_text("one.gz\n")
    with pytest.raises(IdxError, match="not a line of a sha256sum list"):
        read_checksums(path)
