import gzip

import numpy as np
import pytest
import tensorflow as tf

from model_patching.data import record_batches, schema
from model_patching.data.arrays import load_arrays
from model_patching.data.schema import Record


def encode(value, shape=(2, 3, 1)):
    return tf.io.encode_png(np.full(shape, value, np.uint8)).numpy()


def record(value, label=0, subgroup=0, shape=(2, 3, 1), renditions=()):
    """A record whose every pixel is `value`."""
    patched = tuple(encode(rendition, shape) for rendition in renditions)
    return Record(encode(value, shape), label, subgroup, f"id-{value}", patched)


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(2, 3, (2, 3, 1))


@pytest.fixture
def error_of(dataset):
    """The message of the error that reading some files raises: one line."""

    def read(paths, patched=False):
        with pytest.raises(ValueError) as caught:
            load_arrays(paths, dataset, patched)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return read


def test_sorts_by_group_and_keeps_the_order_of_files_by_name_within(tmp_path, write_records, dataset):
    # (label, subgroup) → group: (1, 2) → 5, (0, 1) → 1, (1, 0) → 3.
    second = write_records(tmp_path / "data-1.gz", [record(1, 1, 2), record(2, 0, 1), record(3, 1, 0)])
    first = write_records(tmp_path / "data-0.gz", [record(4, 0, 1), record(5, 1, 2), record(6, 0, 1)])
    arrays = load_arrays([second, first], dataset)

    assert arrays.image[:, 0, 0, 0].tolist() == [4, 6, 2, 3, 5, 1]
    assert arrays.image.shape == (6, 2, 3, 1) and arrays.image.dtype == np.uint8
    assert arrays.label.tolist() == [0, 0, 0, 1, 1, 1] and arrays.label.dtype == np.int32
    assert arrays.subgroup.tolist() == [1, 1, 1, 0, 2, 2] and arrays.subgroup.dtype == np.int32
    assert arrays.group_count.tolist() == [0, 3, 0, 1, 0, 2] and arrays.group_count.dtype == np.int32
    assert arrays.group_start.tolist() == [0, 0, 3, 3, 4, 4] and arrays.group_start.dtype == np.int32
    assert [arrays.group_slice(group) for group in (0, 1, 3, 5)] == [
        slice(0, 0),
        slice(0, 3),
        slice(3, 4),
        slice(4, 6),
    ]
    assert arrays.patched_images is None


def test_patched_images_stay_with_their_image(tmp_path, write_records, dataset):
    path = write_records(
        tmp_path / "a.gz",
        [record(7, 1, 0, renditions=(70, 71, 72)), record(8, 0, 0, renditions=(80, 81, 82))],
    )
    arrays = load_arrays([path], dataset, patched=True)
    assert arrays.image[:, 0, 0, 0].tolist() == [8, 7]
    assert arrays.patched_images.shape == (2, 3, 2, 3, 1) and arrays.patched_images.dtype == np.uint8
    assert arrays.patched_images[:, :, 1, 2, 0].tolist() == [[80, 81, 82], [70, 71, 72]]
    assert load_arrays([path], dataset).patched_images is None


def test_pixels_keep_their_place_and_color(tmp_path, write_records, make_dataset):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    source = Record(tf.io.encode_png(pixels).numpy(), 1, 1, "id")
    path = write_records(tmp_path / "a.gz", [source])
    assert np.array_equal(load_arrays([path], make_dataset(2, 2, (2, 3, 3))).image, pixels[None])


def test_a_file_longer_than_a_batch_is_read_whole(tmp_path, write_records, dataset, monkeypatch):
    monkeypatch.setattr(record_batches, "BATCH", 4)
    path = write_records(tmp_path / "a.gz", [record(value, 0, 0) for value in range(10)])
    assert load_arrays([path], dataset).image[:, 0, 0, 0].tolist() == list(range(10))


def test_an_empty_file_beside_a_full_one_is_fine(tmp_path, write_records, dataset):
    paths = [write_records(tmp_path / "a.gz", []), write_records(tmp_path / "b.gz", [record(1)])]
    assert len(load_arrays(paths, dataset).label) == 1


def test_nothing_to_read(tmp_path, write_records, error_of):
    assert error_of([]) == "there are no record files to read"
    path = write_records(tmp_path / "a.gz", [])
    assert error_of([path]) == f"there are no records in {path}"


@pytest.mark.parametrize(
    "bad, message",
    [
        (
            record(1, shape=(2, 4, 1)),
            "Shape of tensor input [2,4,1] is not compatible with expected shape [2,3,1].",
        ),
        (
            record(1, shape=(2, 3, 3)),
            "Shape of tensor input [2,3,3] is not compatible with expected shape [2,3,1].",
        ),
        (Record(b"no image", 0, 0, "id"), "Unknown image file format."),
        (Record(encode(1), 2, 0, "id"), "'id': label 2, but the data set has 2 classes"),
        (Record(encode(1), -1, 0, "id"), "label -1, but the data set has 2 classes"),
        (Record(encode(1), 0, 3, "id"), "subgroup 3, but the data set has 3 subgroups"),
        (tf.train.Example().SerializeToString(), "is required but could not be found."),
        (b"no example", "Could not parse example input"),
    ],
)
@pytest.mark.parametrize("position", [0, 5])
def test_a_bad_record_is_named(bad, message, position, tmp_path, write_records, error_of, monkeypatch):
    monkeypatch.setattr(record_batches, "BATCH", 4)
    records = [record(value) for value in range(7)]
    records[position] = bad
    good = write_records(tmp_path / "a.gz", [record(1)])
    path = write_records(tmp_path / "b.gz", records)
    found = error_of([good, path])
    assert found.startswith(f"{path}: record {position}") and message in found


def test_missing_and_too_few_patched_images_are_named(tmp_path, write_records, error_of):
    whole = record(1, renditions=(1, 2, 3))
    for number, bad in enumerate((record(2), record(2, renditions=(1, 2)))):
        path = write_records(tmp_path / f"{number}.gz", [whole, bad])
        found = error_of([path], patched=True)
        assert found.startswith(f"{path}: record 1: ") and "patched_images" in found


def test_a_bad_patched_image_is_named(tmp_path, write_records, error_of):
    bad = Record(encode(1), 0, 0, "id", (encode(1), encode(2), encode(3, (3, 3, 1))))
    path = write_records(tmp_path / "a.gz", [record(1, renditions=(1, 2, 3)), bad])
    assert f"{path}: record 1: Shape of tensor input [3,3,1]" in error_of([path], patched=True)


def test_a_file_cut_off_anywhere_is_named(tmp_path, write_records, error_of):
    records = [record(value) for value in range(3)]
    with gzip.open(write_records(tmp_path / "whole.gz", records)) as stream:
        plain = stream.read()
    # Stored, not compressed: a header of 10 + 5 bytes, then the records byte for byte, then a trailer of 8.
    data = gzip.compress(plain, compresslevel=0)
    assert data[15 : 15 + len(plain)] == plain
    ends = np.cumsum([16 + len(schema.serialize(item)) for item in records])
    path = tmp_path / "cut.gz"
    # TensorFlow's own reader says nothing when the cut is just between two records, before the first or after the last.
    for readable in (-14, -3, 0, 1, ends[0], ends[0] + 20, ends[1], ends[2] - 1, ends[2], ends[2] + 4):
        path.write_bytes(data[: 15 + readable])
        first_missing = int((ends <= readable).sum())
        assert error_of([str(path)]).startswith(f"{path}: record {first_missing}: "), readable


def test_a_corrupt_a_plain_and_a_missing_file_are_named(tmp_path, write_records, error_of):
    whole = write_records(tmp_path / "whole.gz", [record(value) for value in range(3)])
    with open(whole, "rb") as file:
        data = bytearray(file.read())
    data[len(data) // 2] ^= 255
    corrupt = tmp_path / "corrupt.gz"
    corrupt.write_bytes(data)
    assert error_of([str(corrupt)]).startswith(f"{corrupt}: record ")
    plain = tmp_path / "plain.gz"
    plain.write_bytes(b"this was never compressed")
    assert error_of([str(plain)]).startswith(f"{plain}: record 0: ")
    missing = tmp_path / "missing.gz"
    assert "No such file" in error_of([str(missing)])


def test_takes_some_of_each_group_by_the_seed_and_decodes_no_others(tmp_path, write_records, dataset):
    broken = Record(b"no image", 0, 0, "broken")
    first = [record(i, 0, 1) for i in range(10)] + [record(20 + i, 1, 2) for i in range(2)]
    second = [record(10 + i, 0, 1) for i in range(5)] + [broken]
    paths = [write_records(tmp_path / name, records) for name, records in (("0.gz", first), ("1.gz", second))]
    with pytest.raises(ValueError, match=r"1\.gz: record 5: "):  # the only one of its group is always taken
        load_arrays(paths, dataset, take=3)

    paths[1] = write_records(tmp_path / "1.gz", second[:-1])
    drawn = []
    for seed in range(8):
        arrays = load_arrays(paths, dataset, take=3, seed=seed)
        assert arrays.group_count.tolist() == [0, 3, 0, 0, 0, 2]
        assert arrays.image[3:, 0, 0, 0].tolist() == [20, 21]
        drawn.append(tuple(arrays.image[:3, 0, 0, 0].tolist()))
        assert drawn[-1] == tuple(sorted(set(drawn[-1])))
        again = load_arrays(paths[::-1], dataset, take=3, seed=seed)
        assert np.array_equal(arrays.image, again.image)
    assert len(set(drawn)) > 4
    assert len(set(sum(drawn, ()))) > 10


def test_takes_as_many_as_the_smallest_group_of_the_class_has(tmp_path, write_records, dataset):
    counts = ((3, 1, 2), (5, 4, 2))
    records = [
        record(10 * label + subgroup, label, subgroup)
        for label, row in enumerate(counts)
        for subgroup, count in enumerate(row)
        for _ in range(count)
    ]
    arrays = load_arrays([write_records(tmp_path / "0.gz", records)], dataset, take="smallest_group")
    assert arrays.group_count.tolist() == [1, 1, 1, 2, 2, 2]
    assert arrays.image[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 10, 11, 11, 12, 12]


def test_an_image_that_is_not_taken_may_be_broken(tmp_path, write_records, dataset):
    path = write_records(tmp_path / "0.gz", [Record(b"no image", 0, 0, "broken"), record(1)])
    outcomes = set()
    for seed in range(8):
        try:
            load_arrays([path], dataset, take=1, seed=seed)
            outcomes.add("read")
        except ValueError as error:
            assert "0.gz: record 0: " in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_bad_label_is_named_by_its_place_in_the_file_even_if_few_are_taken(
    tmp_path, write_records, dataset
):
    path = write_records(tmp_path / "0.gz", [*(record(i) for i in range(5)), record(7, label=2)])
    with pytest.raises(ValueError, match=r"0\.gz: record 5, 'id-7': label 2, but the data set has 2 classes"):
        load_arrays([path], dataset, take=1)


@pytest.mark.parametrize("patched", [False, True])
def test_images_beyond_the_memory_lie_in_a_file_without_a_name(
    tmp_path, write_records, toy_records, make_dataset, monkeypatch, patched
):
    dataset = make_dataset(2, 2, (8, 8, 1))
    path = write_records(tmp_path / "0.gz", toy_records([[5, 2], [3, 4]], (8, 8, 1), patched=True))
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    in_memory, in_file = (load_arrays([path], dataset, patched, memory_gib=gib) for gib in (1.0, 0.0))
    assert isinstance(in_file.image, np.memmap) and not isinstance(in_memory.image, np.memmap)
    assert np.array_equal(in_memory.image, in_file.image)
    if patched:
        assert isinstance(in_file.patched_images, np.memmap)
        assert np.array_equal(in_memory.patched_images, in_file.patched_images)
    assert in_memory.label.tolist() == in_file.label.tolist()
    assert list(folder.iterdir()) == []


def test_a_disk_without_room(tmp_path, write_records, toy_records, make_dataset, monkeypatch):
    path = write_records(tmp_path / "0.gz", toy_records([[1, 1], [1, 1]], (8, 8, 1)))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match=f"^{tmp_path}: no room for 0.0 GiB of decoded images .*set TMPDIR"):
        load_arrays([path], make_dataset(2, 2, (8, 8, 1)), memory_gib=0.0)
