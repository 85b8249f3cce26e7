import numpy as np
import tensorflow as tf

from model_patching.components.cyclegan_trainer.sheet import draw_sheet, sheet_images


def constant_images(values, shape=(2, 3, 1)):
    return tf.stack([tf.fill(shape, value / 127.5 - 1.0) for value in values])


def test_rows_and_columns():
    """A translator that adds 10 and one that adds 100: what comes back has 110 more."""
    shift = lambda by: lambda images, training: images + by / 127.5  # noqa: E731
    sheet = draw_sheet(shift(10), shift(100), constant_images([1, 2]), constant_images([3, 4, 5]))
    # Six rows of 2 pixels and a line of 4; three images of 3 pixels.
    assert sheet.shape == (16, 9, 1) and sheet.dtype == np.uint8
    assert (sheet[6:10] == 128).all()
    images = np.concatenate([sheet[:6], sheet[10:]]).reshape(6, 2, 3, 3)
    assert (images == images[:, :1, :, :1]).all()
    assert images[:, 0, :, 0].tolist() == [
        [1, 2, 0],
        [11, 12, 0],
        [111, 112, 0],
        [3, 4, 5],
        [103, 104, 105],
        [113, 114, 115],
    ]


def test_takes_the_first_images_of_every_class(make_arrays, make_dataset):
    # Subgroup 1: 5-14 of class 0 and 18, 19 of class 1; eight of each class fit into 16 columns.
    arrays = make_arrays([[5, 10], [3, 2]])
    images = sheet_images(arrays, make_dataset(2, 2, (2, 2, 1)), 1, [0, 1])
    index = np.rint((images.numpy()[:, 0, 0, 0] + 1) * 127.5).astype(int)
    assert index.tolist() == [5, 6, 7, 8, 9, 10, 11, 12, 18, 19]
    of_one_class = sheet_images(arrays, make_dataset(2, 2, (2, 2, 1)), 1, [1])
    assert np.rint((of_one_class.numpy()[:, 0, 0, 0] + 1) * 127.5).astype(int).tolist() == [18, 19]


def test_wide_images_are_fewer(make_arrays, make_dataset):
    # 1024 pixels hold four images of 224: two of each class.
    arrays = make_arrays([[3, 3], [3, 3]], image_shape=(2, 224, 1))
    assert len(sheet_images(arrays, make_dataset(2, 2, (2, 224, 1)), 0, [0, 1])) == 4
