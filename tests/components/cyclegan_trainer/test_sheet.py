import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.sheet import draw_sheet, sheet_images


def constant_images(values, width=3):
    return tf.stack([tf.fill((2, width, 1), value / 127.5 - 1.0) for value in values])


def shift(by):
    """A translator that adds a grey value."""
    return lambda images, training: images + by / 127.5


def test_rows_and_columns():
    """A translator that adds 10 and one that adds 100: what comes back has 110 more."""
    sheet = draw_sheet(shift(10), shift(100), [constant_images([1, 2])], [constant_images([3, 4, 5])])
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
    # Subgroup 1: 5-14 of class 0 and 18, 19 of class 1.
    arrays, dataset = make_arrays([[5, 10], [3, 2]]), make_dataset(2, 2, (2, 2, 1))
    images = sheet_images(arrays, dataset, 1, [0, 1], 4)
    assert [np.rint((one.numpy()[:, 0, 0, 0] + 1) * 127.5).astype(int).tolist() for one in images] == [
        [5, 6, 7, 8],
        [18, 19],
    ]
    (of_one_class,) = sheet_images(arrays, dataset, 1, [1], 4)
    assert np.rint((of_one_class.numpy()[:, 0, 0, 0] + 1) * 127.5).astype(int).tolist() == [18, 19]


@pytest.mark.parametrize("width, columns", [(2, 8 + 3), (224, 2 + 2), (600, 1 + 1)])
def test_a_page_holds_so_many_columns(width, columns):
    # 16 columns of two classes are eight of each, of which the second has three; 1024 pixels hold four of 224.
    classes = [constant_images(range(10), width), constant_images(range(3), width)]
    sheet = draw_sheet(shift(0), shift(0), classes, classes)
    assert sheet.shape[1] == columns * width


def test_each_class_goes_through_the_generators_alone_and_whole():
    def less_the_mean(images, training=False):
        return images - tf.reduce_mean(images)

    # 20 images, the first eight of 10 and the rest of 20, and two of 40 and 50. Less the means of their classes, 16 and
    # 45, and with 127.5 for zero:
    classes = [constant_images([10] * 8 + [20] * 12), constant_images([40, 50])]
    sheet = draw_sheet(less_the_mean, less_the_mean, classes, classes)
    rendition = sheet[2, ::3, 0].astype(int)
    assert rendition.tolist() == pytest.approx([121.5] * 8 + [122.5, 132.5], abs=0.6)
