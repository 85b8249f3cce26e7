"""The order of a source's records, beside TensorFlow's own reading of such files."""

import numpy as np
import pytest
import tensorflow as tf

from model_patching.data.source_order import (
    NO_GROUP,
    SourceOrder,
    SourceOrderError,
    group_code,
    read_source_order,
    reading_order,
    record_id,
    write_source_order,
)


def test_by_hand():
    # Two files at once: a0 b0 a1 b1 | a has ended, c takes its place | b2, c0, then b has ended, and d takes its.
    places = reading_order([2, 3, 1, 2], 2)
    assert [place.tolist() for place in places] == [[0, 2], [1, 3, 4], [5], [6, 7]]
    one_after_the_other = reading_order([2, 3, 1, 2], 1)
    assert np.concatenate(one_after_the_other).tolist() == list(range(8))


@pytest.mark.parametrize("files_at_once", [1, 2, 3, 4, 5, 7, 8, 50])
@pytest.mark.parametrize("counts", [(5, 1, 7, 3, 0, 4, 2), (0, 3, 0, 0, 11, 1), (4, 4, 4), (9,)])
def test_the_order_is_tensorflows(tmp_path, counts, files_at_once):
    paths = []
    for number, count in enumerate(counts):
        paths.append(str(tmp_path / f"{number:02d}.tfrec"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for record in range(count):
                writer.write(f"{number} {record}".encode())
    files = tf.data.Dataset.from_tensor_slices(paths)
    dataset = tf.data.TFRecordDataset(files, num_parallel_reads=files_at_once)
    read = [tuple(map(int, record.split())) for record in dataset.as_numpy_iterator()]

    places = reading_order(counts, files_at_once)
    expected = sorted(
        (int(place), (file, record))
        for file, of_file in enumerate(places)
        for record, place in enumerate(of_file)
    )
    assert [place for place, _ in expected] == list(range(sum(counts)))
    assert [record for _, record in expected] == read


def test_ranks_count_the_records_of_a_group_in_reading_order():
    codes = {
        "b.tfrec": np.array([0, 4, 0], np.int16),
        "a.tfrec": np.array([4, NO_GROUP, 0], np.int16),
    }
    order = SourceOrder(codes)
    assert order.most_files == 2
    assert order.count(0) == 3 and order.count(4) == 2 and order.count(1) == 0
    # a0 (4) b0 (0) a1 (none) b1 (4) a2 (0) b2 (0)
    ranks = order.ranks(2)
    assert ranks["a.tfrec"].tolist() == [0, 0, 1]
    assert ranks["b.tfrec"].tolist() == [0, 1, 2]
    # a0 (4) a1 a2 (0) b0 (0) b1 (4) b2 (0)
    ranks = order.ranks(1)
    assert ranks["a.tfrec"].tolist() == [0, 0, 0]
    assert ranks["b.tfrec"].tolist() == [1, 1, 2]


def test_files_of_different_folders_are_not_read_together():
    codes = {f"{folder}/{name}": np.zeros(2, np.int16) for folder in ("train", "val") for name in "ab"}
    codes = {part: of_part + (4 if part.startswith("val") else 0) for part, of_part in codes.items()}
    order = SourceOrder(codes)
    assert order.most_files == 2
    for folder in ("train", "val"):
        assert order.ranks(9)[f"{folder}/a"].tolist() == [0, 2]
        assert order.ranks(9)[f"{folder}/b"].tolist() == [1, 3]


def test_what_is_written_is_read_back_and_always_the_same_bytes(tmp_path):
    groups = {"train/00.tfrec": np.array([3, NO_GROUP, 11]), "val/00.tfrec": np.zeros(0, np.int64)}
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_source_order(tmp_path / name, groups)
        contents.append((tmp_path / name / "source_order.npz").read_bytes())
    assert contents[0] == contents[1]
    read = read_source_order(tmp_path / "one" / "source_order.npz").codes
    assert {part: codes.tolist() for part, codes in read.items()} == {
        "train/00.tfrec": [3, -1, 11],
        "val/00.tfrec": [],
    }
    assert all(codes.dtype == np.int16 for codes in read.values())


def test_a_missing_or_damaged_file_is_one_line(tmp_path):
    path = tmp_path / "source_order.npz"
    with pytest.raises(SourceOrderError, match=r"source_order.npz is missing: .* order isn't known$"):
        read_source_order(path)
    write_source_order(tmp_path, {"a": np.zeros(3, np.int16)})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceOrderError, match=r"source_order.npz: can't be read: [^\n]+$"):
        read_source_order(path)


def test_ids_and_codes():
    assert record_id("train/00-10240.tfrec", 12) == "train/00-10240-000012"
    assert record_id("a.tfrec", 1234567) == "a-1234567"
    assert group_code("train", 3, 4) == 3
    assert group_code("test", 3, 4) == 11
