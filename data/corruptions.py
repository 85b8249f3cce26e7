"""Corruptions of MNIST-C: Norman Mu and Justin Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision", 2019,
arXiv:1906.02337.

Here are some that need no noise, filter or interpolation, pixel for pixel as there. Each takes images, uint8
[n, 28, 28], and a generator of random numbers, and returns new images of the same kind.
"""

from collections.abc import Callable
from functools import cache
from types import MappingProxyType

import numpy as np

SIDE = 28
FIRST_COLUMN, LAST_COLUMN = 2, 25
START_ROWS = range(27)
ROW_CHANGES = range(-5, 5)  # row at the last column minus row at the first; the published range leaves 5 out
AMPLITUDE = 2.0
HALF_PERIOD = 2.0  # from the line to a peak, along the line
REACH = 2.3  # pixels over which a stroke fades to nothing
LINE_END = 27  # column; a dotted line starts in column 0
LINE_ROWS = range(27)  # of both ends of a dotted line
STRIPE = 7  # columns at either edge
SHIFT = 3  # pixels


def zigzag(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draws a zigzag over each image, at a random height and slope, as MNIST-C does.

    The line that a zigzag follows starts in column 2 at a row drawn from 0 ... 26 and ends in column 25 at that row
    plus a change drawn from -5 ... 4. That makes 270 zigzags, so each is drawn once and added where it is needed.

    Args:
        images: uint8 [n, 28, 28].
        generator: source of the rows; n draws of the start, then n of the change.

    Returns:
        uint8 [n, 28, 28]: sum of image and zigzag, clipped at 255.
    """
    _check(images)
    start = generator.integers(len(START_ROWS), size=len(images))
    change = generator.integers(len(ROW_CHANGES), size=len(images))
    return _add(images, zigzag_overlays()[start, change])


def dotted_line(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draws a dotted line over each image, from the left edge to the right one: two columns line, two columns nothing.

    Both ends are at rows drawn from 0 ... 26, which makes 729 lines.

    Args:
        images: uint8 [n, 28, 28].
        generator: source of the rows; n draws of the left end, then n of the right one.

    Returns:
        uint8 [n, 28, 28]: sum of image and line, clipped at 255.
    """
    _check(images)
    left = generator.integers(len(LINE_ROWS), size=len(images))
    right = generator.integers(len(LINE_ROWS), size=len(images))
    return _add(images, dotted_line_overlays()[left, right])


def stripe(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Inverts the seven columns at either edge of each image; nothing is random about it.

    Args:
        images: uint8 [n, 28, 28].
        generator: not drawn from.
    """
    _check(images)
    striped = images.copy()
    striped[..., :STRIPE] = 255 - striped[..., :STRIPE]
    striped[..., -STRIPE:] = 255 - striped[..., -STRIPE:]
    return striped


def translate(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Moves each image three pixels to the left or right and three up or down, and fills with black.

    Args:
        images: uint8 [n, 28, 28].
        generator: source of the directions; n draws for the columns, then n for the rows.
    """
    _check(images)
    right = generator.integers(2, size=len(images))
    down = generator.integers(2, size=len(images))
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    moved = np.empty_like(images)
    for to_right in (0, 1):
        for to_bottom in (0, 1):
            here = (right == to_right) & (down == to_bottom)
            row, column = (0 if to_bottom else 2 * SHIFT), (0 if to_right else 2 * SHIFT)
            moved[here] = padded[here, row : row + SIDE, column : column + SIDE]
    return moved


# A corruption's number in here decides what is random about it, so new ones come last.
DRAWN: MappingProxyType[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = MappingProxyType(
    {"zigzag": zigzag, "dotted_line": dotted_line, "stripe": stripe, "translate": translate}
)


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"images must be uint8 [n, {SIDE}, {SIDE}], got {images.dtype} {list(images.shape)}")


def _add(images: np.ndarray, overlays: np.ndarray) -> np.ndarray:
    """Sum of two uint8 arrays, clipped at 255."""
    # Where the sum would pass 255, the space above the image limits what is added; no wider integer is needed.
    return images + np.minimum(overlays, 255 - images)


@cache
def zigzag_overlays() -> np.ndarray:
    """Every zigzag on black: uint8 [27 start rows, 10 row changes, 28, 28], read-only.

    MNIST-C adds the overlay in floating point and rounds last. Rounding the overlay itself gives the same pixels, since
    those of the image are whole already.
    """
    overlays = np.zeros((len(START_ROWS), len(ROW_CHANGES), SIDE, SIDE), np.uint8)
    for i, start in enumerate(START_ROWS):
        for j, change in enumerate(ROW_CHANGES):
            strokes = np.zeros((SIDE, SIDE))
            columns, rows = _zigzag_points(start, change)
            for k in range(len(columns) - 1):
                strokes += _stroke(columns[k], rows[k], columns[k + 1], rows[k + 1])
            overlays[i, j] = np.rint(255 * np.clip(strokes, 0, 1))
    overlays.setflags(write=False)
    return overlays


@cache
def dotted_line_overlays() -> np.ndarray:
    """Every dotted line on black: uint8 [27 left rows, 27 right rows, 28, 28], read-only."""
    overlays = np.zeros((len(LINE_ROWS), len(LINE_ROWS), SIDE, SIDE), np.uint8)
    is_gap = np.arange(SIDE) % 4 < 2
    for i, left in enumerate(LINE_ROWS):
        for j, right in enumerate(LINE_ROWS):
            overlays[i, j] = np.rint(255 * np.where(is_gap, 0, _stroke(0, left, LINE_END, right)))
    overlays.setflags(write=False)
    return overlays


def _zigzag_points(start_row: int, row_change: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a zigzag: columns [p] and rows [p], float64."""
    angle = np.arctan(row_change / (LAST_COLUMN - FIRST_COLUMN))
    length = (LAST_COLUMN - FIRST_COLUMN) / np.cos(angle)

    # In the frame of the line that the zigzag follows: along it, and off it. Peaks alternate, two half periods apart.
    peaks = int((length - HALF_PERIOD) // (2 * HALF_PERIOD)) + 1
    along = [0.0] + [(2 * i + 1) * HALF_PERIOD for i in range(peaks)]
    off = [0.0] + [(-1) ** i * AMPLITUDE for i in range(peaks)]
    # The end of the line cuts the last stroke short. On its way to the next peak it would be off the line there by
    # (2 * peaks * HALF_PERIOD - length) / HALF_PERIOD of the last peak's height. MNIST-C divides that height by twice
    # what is left after the last full period instead, and so ends nearer to the line. The images that results are
    # published for are drawn like this, so it stays.
    rest = length - 2 * HALF_PERIOD * (length // (2 * HALF_PERIOD))
    if rest != 0:
        along.append(length)
        off.append(off[-1] / (2 * rest))

    columns = FIRST_COLUMN + np.cos(angle) * np.array(along) - np.sin(angle) * np.array(off)
    rows = start_row + np.sin(angle) * np.array(along) + np.cos(angle) * np.array(off)
    return columns, rows


def _stroke(column0: float, row0: float, column1: float, row1: float) -> np.ndarray:
    """Brightness [28, 28] from 0 to 1 of the stroke between two points, `column0` < `column1`.

    On the stroke it is 1 and falls with the logarithm of 1 - distance / 2.3. Distance is counted along the column. A
    column that the stroke ends within belongs to the next stroke too, and so gets brighter.
    """
    columns, rows = np.arange(SIDE), np.arange(SIDE)[:, None]
    on_line = row0 + (row1 - row0) / (column1 - column0) * (columns - column0)
    distance = np.minimum(np.abs(rows - on_line), REACH - 1e-10)
    brightness = np.clip(1 + np.log(1 - distance / REACH), 0, 1)
    brightness[:, : int(np.floor(column0))] = 0
    brightness[:, int(np.ceil(column1)) :] = 0
    return brightness
