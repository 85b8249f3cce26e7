import csv

import pytest

from model_patching.data.source import BadRecord, SourceError
from model_patching.data.waterbirds import WaterbirdsFolder, WaterbirdsRecords, waterbirds

HEADER = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
ROWS = [
    [1, "001.Albatross/Albatross_1.jpg", 1, 0, 0, "/b/bamboo_forest/00000131.jpg"],
    [2, '002.Zaunkönig/"Zaunkönig", im Flug.jpg', 0, 1, 1, "/o/ocean/00000002.jpg"],
    [3, "001.Albatross/Albatross_2.jpg", 0, 2, 0, "/b/bamboo_forest/00000003.jpg"],
]


@pytest.fixture
def original(tmp_path, one_colour):
    """Writes the original layout to a folder; returns it."""

    def write(rows=ROWS, header=HEADER, name="waterbirds"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        with (folder / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        for row in ROWS:
            (folder / row[1]).parent.mkdir(exist_ok=True)
            (folder / row[1]).write_bytes(one_colour(row[0]))
        return folder

    return write


def test_the_original_folder(original, one_colour):
    source = waterbirds(original())
    assert isinstance(source, WaterbirdsFolder)
    (part,) = source.parts()
    read = list(source.read(part))
    assert [(image.example_id, image.split, image.label, image.subgroup, image.image) for image in read] == [
        ("001.Albatross/Albatross_1.jpg", "train", 1, 0, one_colour(1)),
        ('002.Zaunkönig/"Zaunkönig", im Flug.jpg', "validation", 0, 1, one_colour(2)),
        ("001.Albatross/Albatross_2.jpg", "test", 0, 0, one_colour(3)),
    ]
    assert [image.example_id for image in source.survey(part)] == [image.example_id for image in read]
    assert not source.keeps_order


def test_a_changed_image_is_another_source_and_a_moved_folder_is_not(original, tmp_path):
    folder = original()
    inputs = waterbirds(folder).inputs()
    moved = folder.rename(tmp_path / "elsewhere")
    assert waterbirds(moved).inputs() == inputs
    (moved / ROWS[0][1]).write_bytes(b"another image")
    assert waterbirds(moved).inputs() != inputs


@pytest.mark.parametrize(
    "name", ["", "waterbird_complete95_forest2water2", "waterbirds_v1.0", "waterbirds_tfrecord_224"]
)
def test_the_layout_is_told_by_what_is_there(tmp_path, original, write_waterbirds, name):
    if name == "waterbirds_tfrecord_224":
        write_waterbirds(tmp_path / "download" / name, [(0, 0, 0)], [1])
        kind = WaterbirdsRecords
    else:
        original(name=f"download/{name}")
        kind = WaterbirdsFolder
    source = waterbirds(tmp_path / "download")
    assert isinstance(source, kind)
    assert source.dataset.image_shape == (224, 224, 3)
    assert source.dataset.group_names == (
        "landbird / land",
        "landbird / water",
        "waterbird / land",
        "waterbird / water",
    )


def test_a_folder_without_waterbirds(tmp_path):
    with pytest.raises(SourceError) as error:
        waterbirds(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no Waterbirds there: expected *.tfrec files (waterbirds_tfrecord_224), or metadata.csv and "
        "images (waterbird_complete95_forest2water2)"
    )
    with pytest.raises(SourceError, match="no such folder"):
        waterbirds(tmp_path / "missing")


def test_the_published_groups(original):
    counts = waterbirds(original()).expected_counts()
    assert sum(map(sum, counts["train"])) == 4795
    assert sum(map(sum, counts["validation"])) == 1199
    assert sum(map(sum, counts["test"])) == 5794


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([2, ROWS[1][1], 0, 3, 1, ""], "column 'split' has '3', which is none of '0', '1', '2'"),
        ([2, ROWS[1][1], "wet", 1, 1, ""], "column 'y' has 'wet', which is none of '0', '1'"),
        ([2, ROWS[1][1], 0, 1, 2, ""], "column 'place' has '2', which is none of '0', '1'"),
        ([2, ROWS[1][1], 0], "3 fields, but the header has 6"),
    ],
)
def test_a_bad_row_is_named_and_the_next_ones_are_read(original, row, reason):
    folder = original([ROWS[0], row, ROWS[2]])
    source = waterbirds(folder)
    (part,) = source.parts()
    first, bad, last = source.read(part)
    assert bad == BadRecord(f"{folder}/metadata.csv, row 2", reason)
    assert (first.label, last.split) == (1, "test")
    assert list(source.survey(part))[1] == bad


def test_a_missing_column_is_named(original):
    folder = original([row[:3] for row in ROWS], header=HEADER[:3])
    with pytest.raises(SourceError) as error:
        waterbirds(folder)
    assert str(error.value) == (
        f"{folder}/metadata.csv: has no column 'place'; its columns are img_id, img_filename, y"
    )
