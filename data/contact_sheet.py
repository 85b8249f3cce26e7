"""The contact sheet of a split: a row of images for each group, and after each image its renditions."""

import io
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record
from model_patching.data.source import SourceError

WIDTH = 1200  # pixels of images that a row has by default, at most
SIDE = 84  # pixels of an image's longer side: smaller ones grow to whole multiples, larger ones shrink to it
MARGIN = 24
GAP = 6  # between images, and between the rows of a class
RENDITION_GAP = 3  # between an image and its renditions
BLOCK_GAP = 18  # between an image with its renditions and the next
CLASS_GAP = 20  # between the rows of two classes
WIDEST_LABEL = 280
LABEL_GAP = 20  # between labels and images, and under the title
HEADING = 20  # over the images of a sheet with renditions
PAPER, INK, PALE_INK, RULE = "#ffffff", "#1f2328", "#6a737d", "#d0d7de"
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 19, 15, 12  # of the letters


def columns_that_fit(dataset: Dataset, patched: bool) -> int:
    """Images of a group that a row of the usual width has room for."""
    return max(1, (WIDTH + _gap(patched)) // _pitch(dataset, patched))


def draw_contact_sheet(
    title: str,
    dataset: Dataset,
    samples: Sequence[Sequence[Record]],
    counts: Sequence[Sequence[int]],
    columns: int,
) -> Image.Image:
    """Draws the sheet of one split.

    Args:
        title: stands above it.
        dataset: names the groups, and says the images' shape.
        samples: records of each group in the order of `Dataset.group_index`; of some groups there may be none.
        counts: how many records of each group there are, [C][K].
        columns: images in a row, at most.

    Raises:
        SourceError: an image can't be decoded; the message names its record.
    """
    patched = any(record.patched_images for of_group in samples for record in of_group)
    pitch, row = _pitch(dataset, patched), _row(dataset)
    sizes = [size for of_class in counts for size in of_class]
    captions = [f"{size:,} records" if size else "no records" for size in sizes]
    widest = max(
        *(_font(LABEL_SIZE, bold=True).getlength(name) for name in dataset.group_names),
        *(_font(SMALL_SIZE).getlength(caption) for caption in captions),
    )
    label_width = min(WIDEST_LABEL, math.ceil(widest))
    shown = max(1, min(columns, max(len(of_group) for of_group in samples)))

    left = MARGIN + label_width + LABEL_GAP
    top = MARGIN + TITLE_SIZE + LABEL_GAP + (HEADING if patched else 0)
    right = max(
        left + shown * pitch - _gap(patched),
        MARGIN + math.ceil(_font(TITLE_SIZE, bold=True).getlength(title)),
    )
    bottom = top + dataset.num_groups * (row + GAP) - GAP + (dataset.num_classes - 1) * CLASS_GAP
    sheet = Image.new("RGB", (right + MARGIN, bottom + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, _font(TITLE_SIZE, bold=True), anchor="lt")
    if patched:
        _draw_heading(draw, dataset, left, top - 8)
    y = top
    for group, records in enumerate(samples):
        if group and group % dataset.num_subgroups == 0:
            line = y + (CLASS_GAP - GAP) // 2
            draw.line((MARGIN, line, right, line), RULE)
            y += CLASS_GAP
        name = dataset.group_names[group]
        _draw_label(draw, name, captions[group], label_width, y + row // 2)
        for column, record in enumerate(records[:shown]):
            for number, encoded in enumerate((record.image, *record.patched_images)):
                image = pixels(encoded, f"{name}, record '{record.example_id}'")
                x = left + column * pitch + number * _step(dataset)
                _draw_image(sheet, image, x, y + (row - _tile(dataset)[1]) // 2, dataset)
        y += row + GAP
    return sheet


def pixels(encoded: bytes, what: str) -> Image.Image:
    """Decodes a PNG or JPEG.

    Raises:
        SourceError: it is neither, or damaged; the message begins with `what`.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            return image.copy()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise SourceError(f"{what}: the image can't be decoded: {_one_line(error)}") from None


def _draw_heading(draw: ImageDraw.ImageDraw, dataset: Dataset, left: int, baseline: int) -> None:
    """Says over the first block what its images are; the others are like it."""
    font = _font(SMALL_SIZE)
    for number, name in enumerate(("image", *(f"→ {name}" for name in dataset.subgroups))):
        text = _shortened(name, font, _tile(dataset)[0])
        draw.text((left + number * _step(dataset), baseline), text, PALE_INK, font, anchor="ls")


def _draw_label(draw: ImageDraw.ImageDraw, name: str, caption: str, width: int, middle: int) -> None:
    """Writes a group's name and size beside its row."""
    font = _font(LABEL_SIZE, bold=True)
    draw.text((MARGIN, middle - 1), _shortened(name, font, width), INK, font, anchor="ls")
    draw.text((MARGIN, middle + 7), caption, PALE_INK, _font(SMALL_SIZE), anchor="lt")


def _draw_image(sheet: Image.Image, image: Image.Image, x: int, y: int, dataset: Dataset) -> None:
    """Draws an image in a thin frame, without which white ones would run into the paper."""
    width, height = _tile(dataset)
    grows = image.width <= width
    resampling = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
    ImageDraw.Draw(sheet).rectangle((x - 1, y - 1, x + width, y + height), outline=RULE)
    sheet.paste(image.convert("RGB").resize((width, height), resampling), (x, y))


def _tile(dataset: Dataset) -> tuple[int, int]:
    """Width and height at which an image is drawn."""
    height, width, _ = dataset.image_shape
    longer = max(height, width)
    if longer <= SIDE:
        factor = SIDE // longer
        return width * factor, height * factor
    return max(1, round(width * SIDE / longer)), max(1, round(height * SIDE / longer))


def _row(dataset: Dataset) -> int:
    """Height of a row: that of an image, but room for a label."""
    return max(_tile(dataset)[1], LABEL_SIZE + SMALL_SIZE + 10)


def _step(dataset: Dataset) -> int:
    """Pixels from an image to its rendition, and from that to the next."""
    return _tile(dataset)[0] + RENDITION_GAP


def _pitch(dataset: Dataset, patched: bool) -> int:
    """Pixels from one image of a row to the next that isn't its rendition."""
    renditions = dataset.num_subgroups if patched else 0
    return _tile(dataset)[0] + renditions * _step(dataset) + _gap(patched)


def _gap(patched: bool) -> int:
    return BLOCK_GAP if patched else GAP


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """As much of a text as fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows many scripts."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
