import io

import numpy as np
import pytest
from PIL import Image

from model_patching.data.contact_sheet import columns_that_fit, draw_contact_sheet
from model_patching.data.schema import Record
from model_patching.data.source import SourceError

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200), (200, 0, 200)]


def encoded(colour, size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def samples(groups, count, size=(8, 8), renditions=()):
    """Records of a group all in its colour, and their renditions in those that are given."""
    return [
        [
            Record(
                encoded(COLOURS[group], size),
                group // 2,
                group % 2,
                f"{group}-{number}",
                tuple(encoded(colour, size) for colour in renditions),
            )
            for number in range(count)
        ]
        for group in range(groups)
    ]


def boxes(sheet, colour):
    """(left, top, width, height) of each block of one colour, in reading order."""
    is_colour = (np.asarray(sheet) == colour).all(axis=-1)
    rows = np.flatnonzero(is_colour.any(axis=1))
    if not rows.size:
        return []
    found = []
    for of_rows in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        columns = np.flatnonzero(is_colour[of_rows[0]])
        for of_columns in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
            assert is_colour[of_rows[0] : of_rows[-1] + 1, of_columns[0] : of_columns[-1] + 1].all()
            found.append((of_columns[0], of_rows[0], len(of_columns), len(of_rows)))
    return found


def test_each_group_has_a_row_of_its_images(make_dataset):
    sheet = draw_contact_sheet("title", make_dataset(), samples(4, 5), [[5, 5], [5, 5]], columns=3)
    found = [boxes(sheet, COLOURS[group]) for group in range(4)]
    assert all(len(of_group) == 3 for of_group in found)
    # 8 pixels grow ten times; in every row the images begin at the same columns, in the order of the groups.
    assert {box[2:] for of_group in found for box in of_group} == {(80, 80)}
    assert len({tuple(box[0] for box in of_group) for of_group in found}) == 1
    tops = [of_group[0][1] for of_group in found]
    assert tops[1] - tops[0] == tops[3] - tops[2] == 86
    assert tops[2] - tops[1] == 106  # between classes there is more room
    assert found[0][0][0] - found[0][1][0] == -86
    assert sheet.width - (found[0][2][0] + 80) == 24


def test_a_group_without_records_keeps_its_row(make_dataset):
    groups = samples(4, 2)
    groups[1] = []
    sheet = draw_contact_sheet("title", make_dataset(), groups, [[2, 0], [2, 2]], columns=9)
    whole = draw_contact_sheet("title", make_dataset(), samples(4, 2), [[2, 2], [2, 2]], columns=9)
    assert sheet.height == whole.height
    assert boxes(sheet, COLOURS[1]) == []
    # Its label is there: dark letters left of where its images would be.
    left, top, _, _ = boxes(whole, COLOURS[1])[0]
    label = np.asarray(sheet.convert("L"))[top : top + 80, :left]
    assert label.min() < 60
    for group in (0, 2, 3):
        assert len(boxes(sheet, COLOURS[group])) == 2


def test_an_image_is_followed_by_its_renditions(make_dataset):
    groups = samples(4, 2, renditions=COLOURS[4:6])
    sheet = draw_contact_sheet("title", make_dataset(), groups, [[2, 2], [2, 2]], columns=2)
    images = [box for group in range(4) for box in boxes(sheet, COLOURS[group])]
    firsts, seconds = boxes(sheet, COLOURS[4]), boxes(sheet, COLOURS[5])
    assert len(images) == 8
    for image, first, second in zip(images, firsts, seconds, strict=True):
        assert image[1] == first[1] == second[1]
        assert (first[0] - image[0], second[0] - first[0]) == (83, 83)
    starts = [box[0] for box in boxes(sheet, COLOURS[0])]
    assert starts[1] - starts[0] == 3 * 80 + 2 * 3 + 18


@pytest.mark.parametrize(
    "size, shown",
    [
        ((224, 224), (84, 84)),
        ((128, 64), (84, 42)),
        ((84, 84), (84, 84)),
        ((28, 14), (84, 42)),
        ((50, 60), (50, 60)),
    ],
)
def test_large_images_shrink_and_small_ones_grow_to_whole_multiples(make_dataset, size, shown):
    dataset = make_dataset(image_shape=(size[1], size[0], 3))
    sheet = draw_contact_sheet("t", dataset, samples(4, 1, size), [[1, 1], [1, 1]], columns=1)
    ((_, _, width, height),) = boxes(sheet, COLOURS[0])
    assert (width, height) == shown


def test_rows_of_flat_images_leave_room_for_their_labels(make_dataset):
    dataset = make_dataset(image_shape=(8, 112, 3))
    sheet = draw_contact_sheet("t", dataset, samples(4, 1, (112, 8)), [[1, 1], [1, 1]], columns=1)
    tops = [boxes(sheet, COLOURS[group])[0][1] for group in (0, 1)]
    assert tops[1] - tops[0] >= 37


def test_as_many_columns_as_fit(make_dataset):
    # 80 pixels and 6 between them: 14 make 14 * 86 - 6 = 1198. With two renditions 3 * 80 + 2 * 3 + 18 = 264.
    assert columns_that_fit(make_dataset(), patched=False) == 14
    assert columns_that_fit(make_dataset(), patched=True) == 4
    assert columns_that_fit(make_dataset(2, 20), patched=True) == 1
    groups = samples(4, 20)
    sheet = draw_contact_sheet(
        "t", make_dataset(), groups, [[20] * 2] * 2, columns_that_fit(make_dataset(), False)
    )
    first, last = boxes(sheet, COLOURS[0])[0], boxes(sheet, COLOURS[0])[-1]
    assert last[0] + 80 - first[0] == 1198


def test_grey_images_and_long_names_are_drawn(make_dataset):
    file = io.BytesIO()
    Image.new("L", (8, 8), 77).save(file, "JPEG")
    dataset = make_dataset().model_copy(update={"classes": ("x" * 200, "Küste")})
    groups = [[Record(file.getvalue(), group // 2, group % 2, "a")] for group in range(4)]
    sheet = draw_contact_sheet("title " * 30, dataset, groups, [[1, 1], [1, 1]], columns=1)
    (left, _, _, _), *_ = boxes(sheet, (77, 77, 77))
    assert left == 24 + 280 + 20


def test_an_image_that_cannot_be_decoded_is_named(make_dataset):
    groups = samples(4, 1)
    groups[2] = [Record(b"\x89PNG\r\n\x1a\nnothing", 1, 0, "bad one")]
    with pytest.raises(SourceError, match="^c1 / s0, record 'bad one': the image can't be decoded: "):
        draw_contact_sheet("t", make_dataset(), groups, [[1, 1], [1, 1]], columns=1)
