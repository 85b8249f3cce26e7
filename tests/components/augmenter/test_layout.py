import numpy as np
import pytest

from model_patching.components.augmenter.layout import Layout
from model_patching.data.id_hash import id_hash


@pytest.mark.parametrize(
    "count, size, expected",
    [(1, 4, [1]), (4, 4, [4]), (5, 4, [3, 2]), (9, 4, [3, 3, 3]), (10, 4, [4, 3, 3])],
)
def test_batches_have_no_small_remainder(count, size, expected):
    hashes = np.arange(10, 10 + count, dtype=np.uint64)
    (file,) = Layout({(0, 0): hashes[::-1]}, size, 100).files
    assert file.batch_starts == tuple(10 + np.cumsum([0, *expected[:-1]]))
    assert file.count == count and file.group == (0, 0)


def test_files_are_runs_of_batches_of_one_group():
    hashes = {(1, 0): np.arange(3, dtype=np.uint64), (0, 1): np.arange(100, 117, dtype=np.uint64)}
    layout = Layout(hashes, batch_size=4, records_per_file=8)
    # 17 records: batches of 4, 4, 3, 3, 3; two batches a file at most, so files of 2, 2 and 1 batches.
    assert [(file.group, file.count, file.batch_starts) for file in layout.files] == [
        ((0, 1), 8, (100, 104)),
        ((0, 1), 6, (108, 111)),
        ((0, 1), 3, (114,)),
        ((1, 0), 3, (0,)),
    ]
    numbers = [layout.file_number((0, 1), record_hash) for record_hash in range(100, 117)]
    assert numbers == [0] * 8 + [1] * 6 + [2] * 3
    assert {layout.file_number((1, 0), record_hash) for record_hash in range(3)} == {3}


def test_a_batch_is_never_split_between_files():
    layout = Layout({(0, 0): np.arange(10, dtype=np.uint64)}, batch_size=5, records_per_file=2)
    assert [file.count for file in layout.files] == [5, 5]


def test_hashes_use_all_64_bits():
    hashes = np.array([id_hash(f"mnist-train-{i:08d}-clean") for i in range(2000)], np.uint64)
    assert 0.48 < np.mean(hashes > 2**63) < 0.52
    counts = [file.count for file in Layout({(0, 0): hashes}, 128, 500).files]
    assert counts == [375, 375, 375, 375, 250, 250]
