import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.robust_trainer.batches import group_balanced, proportional
from model_patching.components.robust_trainer.input_pipeline import training_batches

COUNTS = [[5, 1, 2], [3, 4, 1]]


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(2, 3, (2, 2, 1))


def rows_of(batch):
    """Which examples a batch has: example i is an image of value i, its rendition k of 100 + 50 k + i."""
    image = batch.image.numpy()
    rows = image[:, 0, 0, 0].tolist()
    assert (image == image[:, :1, :1, :1]).all()
    return rows


def test_an_image_travels_with_its_label_and_its_renditions(make_arrays, dataset):
    arrays = make_arrays(COUNTS, patched=True)
    batches = list(training_batches(arrays, group_balanced(arrays, dataset, 4), 7, 0, 3))
    assert len(batches) == 3
    for batch in batches:
        rows = rows_of(batch)
        assert batch.image.dtype == batch.patched_images.dtype == tf.uint8
        assert batch.image.shape == (24, 2, 2, 1) and batch.patched_images.shape == (24, 3, 2, 2, 1)
        assert batch.label.numpy().tolist() == arrays.label[rows].tolist() == [0] * 12 + [1] * 12
        assert batch.patched_images[:, :, 0, 0, 0].numpy().tolist() == [
            [100 + row, 150 + row, 200 + row] for row in rows
        ]
    assert len({tuple(rows_of(batch)) for batch in batches}) == 3


def test_without_renditions(make_arrays, dataset):
    arrays = make_arrays(COUNTS)
    (batch,) = training_batches(arrays, proportional(arrays, 9), 7, 0, 1)
    assert batch.image.shape == (9, 2, 2, 1) and batch.patched_images.shape == (9, 0, 2, 2, 1)


def test_goes_on_where_it_stopped(make_arrays, dataset):
    arrays = make_arrays(COUNTS)
    draw = group_balanced(arrays, dataset, 4)
    whole = [rows_of(batch) for batch in training_batches(arrays, draw, 7, 0, 5)]
    assert [rows_of(batch) for batch in training_batches(arrays, draw, 7, 3, 5)] == whole[3:]
    assert [rows_of(batch) for batch in training_batches(arrays, draw, 8, 3, 5)] != whole[3:]


@pytest.mark.parametrize("workers, devices", [(1, 2), (2, 1), (2, 2)])
def test_devices_share_each_group_of_a_step(make_arrays, dataset, workers, devices):
    arrays = make_arrays(COUNTS)
    draw = group_balanced(arrays, dataset, 4)
    alone = [np.reshape(rows_of(batch), (6, 4)) for batch in training_batches(arrays, draw, 7, 2, 5)]
    shares = []  # of each device: its batches
    for worker in range(workers):
        context = tf.distribute.InputContext(workers, worker, workers * devices)
        batches = [rows_of(batch) for batch in training_batches(arrays, draw, 7, 2, 5, context)]
        assert len(batches) == 3 * devices
        shares += [batches[device::devices] for device in range(devices)]
    for step in range(3):
        together = np.concatenate([np.reshape(share[step], (6, -1)) for share in shares], axis=1)
        assert np.array_equal(together, alone[step])
