"""Which sample sheets the report shows, how it names them, and their size."""

import io

import numpy as np
import pytest
from PIL import Image

from model_patching.components.subgroup_report.sheets import LARGEST_PNG, choose, read_sheets


@pytest.mark.parametrize(
    ("kept", "count", "chosen"),
    [
        (4000, 3, [500, 2500, 4000]),
        (4000, 1, [4000]),
        (4000, 2, [500, 4000]),
        (4000, 20, [500, 1000, 1500, 2000, 2500, 3000, 3500, 4000]),
        (2500, 3, [500, 1500, 2500]),
        (2700, 3, [500, 1500, 2500]),  # has no sheet, the nearest is shown
        (1000, 3, [500, 1000]),
        (250, 3, [500]),
    ],
)
def test_sheets_lead_from_the_first_to_the_kept_one(kept, count, chosen):
    assert choose(range(500, 4001, 500), kept, count) == chosen


def _png(width=16, height=10, value=0):
    buffer = io.BytesIO()
    Image.new("L", (width, height), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def run(tmp_path):
    (tmp_path / "sheets").mkdir()
    for value, step in enumerate((100, 900, 1200, 10000)):
        (tmp_path / "sheets" / f"0-1-step{step:06d}.png").write_bytes(_png(value=value))
    (tmp_path / "sheets" / "notes.txt").write_text("not a sheet")
    return tmp_path


def test_a_model_of_all_classes(run, dataset, translator_training):
    training = translator_training()
    training["selected"][0]["step"] = 1200
    (pair,) = read_sheets(str(run), training, dataset, count=2)
    assert (pair.title, pair.source, pair.target) == ("clean ↔ zigzag", "clean", "zigzag")
    assert [(sheet.title, sheet.picture.content, sheet.is_kept) for sheet in pair.sheets] == [
        ("clean ↔ zigzag, step 100", _png(value=0), False),
        ("clean ↔ zigzag, step 1,200", _png(value=2), True),
    ]
    assert pair.sheets[0].picture.data_uri.startswith("data:image/png;base64,iVBOR")


def test_every_pair_of_a_model_of_one_class(run, three_subgroups, translator_training):
    for pair in ("0-2", "1-2"):
        (run / "sheets" / f"{pair}-step000500.png").write_bytes(_png())
    pairs = read_sheets(str(run), translator_training(1, three_subgroups), three_subgroups, count=1)
    assert [sheet.title for pair in pairs for sheet in pair.sheets] == [
        "odd, clean ↔ zigzag, step 100",  # 500 was kept; 100 and 900 are as near
        "odd, clean ↔ dotted line, step 500",
        "odd, zigzag ↔ dotted line, step 500",
    ]


def test_no_sheets(tmp_path, run, dataset, translator_training):
    assert read_sheets(str(run), translator_training(), dataset, count=0) == []
    assert read_sheets(str(tmp_path / "elsewhere"), translator_training(), dataset, count=1) == []


def test_small_images_are_shown_twice_as_large(run, dataset, translator_training):
    ((sheet,),) = [pair.sheets for pair in read_sheets(str(run), translator_training(), dataset, count=1)]
    assert (sheet.picture.size, sheet.shown_size) == ((16, 10), (32, 20))
    (run / "sheets" / "0-1-step000500.png").write_bytes(_png(width=500))
    ((sheet,),) = [pair.sheets for pair in read_sheets(str(run), translator_training(), dataset, count=1)]
    assert (sheet.picture.size, sheet.shown_size) == ((500, 10), (500, 10))


def test_a_large_sheet_becomes_a_jpeg(run, dataset, translator_training):
    """A smooth picture with some noise, as photographs are."""
    noise = np.random.default_rng(0).normal(0, 3, (600, 900, 3))
    pixels = np.linspace(0, 255, 900)[None, :, None] + noise
    file = run / "sheets" / "0-1-step000500.png"
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file)
    assert file.stat().st_size > LARGEST_PNG
    ((sheet,),) = [pair.sheets for pair in read_sheets(str(run), translator_training(), dataset, count=1)]
    assert sheet.picture.data_uri.startswith("data:image/jpeg;base64,")
    assert len(sheet.picture.content) < file.stat().st_size / 5
    decoded = np.asarray(Image.open(io.BytesIO(sheet.picture.content)), np.float64)
    assert decoded.shape == (600, 900, 3)
    assert np.abs(decoded - np.clip(pixels, 0, 255)).mean() < 3


def test_a_broken_sheet_is_named(run, dataset, translator_training):
    (run / "sheets" / "0-1-step000500.png").write_bytes(b"png")
    with pytest.raises(ValueError, match="0-1-step000500.png is not an image"):
        read_sheets(str(run), translator_training(), dataset, count=1)
