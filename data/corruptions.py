"""Corruptions of MNIST-C: Norman Mu and Justin Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision", 2019,
arXiv:1906.02337.
"""

from functools import cache

import numpy as np

SIDE = 28
FIRST_COLUMN, LAST_COLUMN = 2, 25
START_ROWS = range(27)
ROW_CHANGES = range(-5, 5)  # row at the last column minus row at the first; the published range leaves 5 out
AMPLITUDE = 2.0
HALF_PERIOD = 2.0  # from the line to a peak, along the line
REACH = 2.3  # pixels over which a stroke fades to nothing


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
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"images must be uint8 [n, {SIDE}, {SIDE}], got {images.dtype} {list(images.shape)}")
    start = generator.integers(len(START_ROWS), size=len(images))
    change = generator.integers(len(ROW_CHANGES), size=len(images))
    overlays = zigzag_overlays()[start, change]
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
