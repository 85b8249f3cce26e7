import itertools
import math

import numpy as np
import pytest

from model_patching.data.corruptions import (
    DRAWN,
    dotted_line,
    dotted_line_overlays,
    stripe,
    translate,
    zigzag,
    zigzag_overlays,
)


def reference(image, r0, r1):
    """MNIST-C's zigzag for one image, pixel by pixel: the formula of arXiv:1906.02337's code with rows r0 and r1."""
    theta = math.atan2(r1 - r0, 23)
    d = 23 / math.cos(theta)
    points = [(0, 0)]
    height = 0.0
    for i in range(int((d - 2) // 4) + 1):
        height = 2.0 if i % 2 == 0 else -2.0
        points.append((4 * i + 2, height))
    points.append((d, height / (2 * (d - 4 * (d // 4)))))
    turned = [
        (2 + c * math.cos(theta) - r * math.sin(theta), r0 + c * math.sin(theta) + r * math.cos(theta))
        for c, r in points
    ]
    out = image / 255.0
    for (c0, h0), (c1, h1) in itertools.pairwise(turned):
        for column in range(math.floor(c0), min(28, math.ceil(c1))):
            line = h0 + (h1 - h0) * (column - c0) / (c1 - c0)
            for row in range(28):
                distance = abs(row - line)
                if distance < 2.3:
                    out[row, column] += max(0.0, 1 + math.log(1 - distance / 2.3))
        out = np.minimum(out, 1.0)
    return np.rint(out * 255).astype(np.uint8)


@pytest.mark.parametrize("start, change", [(0, -5), (0, 0), (13, 0), (13, 4), (26, -1), (26, 4), (7, -3)])
def test_every_overlay_is_the_formulas(start, change):
    overlay = zigzag_overlays()[start, change + 5]
    np.testing.assert_array_equal(overlay, reference(np.zeros((28, 28)), start, start + change))


def test_a_level_zigzag_has_the_pixels_computed_by_hand():
    # From column 2, row 13 the first stroke goes a row down each column: row 14 in column 3, the peak in column 4.
    # A pixel one row off it has brightness 1 + ln(1 - 1/2.3) = 0.4295, one two rows off 1 + ln(1 - 2/2.3) < 0.
    overlay = zigzag_overlays()[13, 5]
    one_off = round(255 * (1 + math.log(1 - 1 / 2.3)))
    assert one_off == 110
    assert overlay[11:16, 2].tolist() == [0, one_off, 255, one_off, 0]
    assert overlay[12:17, 3].tolist() == [0, one_off, 255, one_off, 0]
    assert overlay[13:18, 4].tolist() == [0, one_off, 255, one_off, 0]
    assert overlay[:, :2].max() == 0 and overlay[:, 25:].max() == 0
    # Then a peak every four columns, below and above row 13 by turns.
    assert [int(overlay[:, c].argmax()) for c in range(4, 25, 4)] == [15, 11, 15, 11, 15, 11]


def test_an_image_gets_the_sum_clipped_at_white():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 28, 28)).astype(np.uint8)
    drawn = zigzag(images, np.random.default_rng(7))
    replay = np.random.default_rng(7)
    starts, changes = replay.integers(27, size=40), replay.integers(10, size=40)
    for image, corrupted, start, change in zip(images, drawn, starts, changes, strict=True):
        np.testing.assert_array_equal(corrupted, reference(image, start, start + change - 5))


def test_a_seed_fixes_the_pixels_and_another_changes_them():
    images = np.zeros((100, 28, 28), np.uint8)
    first = zigzag(images, np.random.default_rng(3))
    np.testing.assert_array_equal(first, zigzag(images, np.random.default_rng(3)))
    assert (first != zigzag(images, np.random.default_rng(4))).any()


def test_all_starts_and_changes_are_drawn():
    drawn = zigzag(np.zeros((20000, 28, 28), np.uint8), np.random.default_rng(0))
    assert len(np.unique(drawn.reshape(20000, -1), axis=0)) == 270


def dotted_reference(image, left, right):
    """MNIST-C's dotted line for one image, pixel by pixel: the formula of its code with rows `left` and `right`."""
    out = image / 255.0
    for column in (
        2,
        3,
        6,
        7,
        10,
        11,
        14,
        15,
        18,
        19,
        22,
        23,
        26,
    ):  # 27 would be on, but the line ends before it
        for row in range(28):
            distance = abs(row - (left + (right - left) * column / 27))
            if distance < 2.3:
                out[row, column] += max(0.0, 1 + math.log(1 - distance / 2.3))
    return np.rint(np.minimum(out, 1.0) * 255).astype(np.uint8)


@pytest.mark.parametrize("left, right", [(0, 0), (0, 26), (26, 0), (13, 13), (5, 22), (26, 25), (7, 3)])
def test_every_dotted_line_is_the_formulas(left, right):
    overlay = dotted_line_overlays()[left, right]
    np.testing.assert_array_equal(overlay, dotted_reference(np.zeros((28, 28)), left, right))


def test_a_level_dotted_line_has_the_pixels_computed_by_hand():
    overlay = dotted_line_overlays()[13, 13]
    one_off = round(255 * (1 + math.log(1 - 1 / 2.3)))  # a pixel two rows off has 1 + ln(1 - 2/2.3) < 0
    dot = np.zeros(28)
    dot[12:15] = one_off, 255, one_off
    for column in range(27):
        np.testing.assert_array_equal(overlay[:, column], dot if column % 4 in (2, 3) else 0)
    assert overlay[:, 27].max() == 0


def test_an_image_gets_the_sum_with_a_dotted_line():
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28)).astype(np.uint8)
    drawn = dotted_line(images, np.random.default_rng(7))
    replay = np.random.default_rng(7)
    lefts, rights = replay.integers(27, size=40), replay.integers(27, size=40)
    for image, corrupted, left, right in zip(images, drawn, lefts, rights, strict=True):
        np.testing.assert_array_equal(corrupted, dotted_reference(image, left, right))
    drawn = dotted_line(np.zeros((20000, 28, 28), np.uint8), np.random.default_rng(0))
    assert len(np.unique(drawn.reshape(20000, -1), axis=0)) == 729


def test_stripe_inverts_seven_columns_at_either_edge():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    striped = stripe(images, np.random.default_rng(0))
    for column in range(28):
        is_inverted = column < 7 or column > 20
        expected = 255 - images[:, :, column] if is_inverted else images[:, :, column]
        np.testing.assert_array_equal(striped[:, :, column], expected)


def test_translate_moves_by_three_pixels_into_each_of_four_directions():
    image = np.zeros((28, 28), np.uint8)
    image[10, 20] = 255
    image[1, 1] = 7  # falls off unless it moves down and to the right
    moved = translate(np.repeat(image[None], 400, axis=0), np.random.default_rng(0))
    places = [tuple(np.argwhere(one == 255)[0].tolist()) for one in moved]
    assert set(places) == {(7, 17), (7, 23), (13, 17), (13, 23)}
    assert all(80 < places.count(place) < 120 for place in set(places))
    for one, place in zip(moved, places, strict=True):
        assert (one == 7).sum() == (place == (13, 23))
        assert (one > 0).sum() == 1 + (place == (13, 23))


@pytest.mark.parametrize("corruption", DRAWN.values(), ids=DRAWN)
def test_wrong_input_is_refused_and_right_input_left_alone(corruption):
    with pytest.raises(ValueError, match="uint8"):
        corruption(np.zeros((1, 28, 28)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="28"):
        corruption(np.zeros((1, 28, 28, 1), np.uint8), np.random.default_rng(0))
    images = np.full((5, 28, 28), 100, np.uint8)
    corrupted = corruption(images, np.random.default_rng(0))
    assert corrupted.shape == (5, 28, 28) and corrupted.dtype == np.uint8
    assert (images == 100).all() and (corrupted != 100).any()
