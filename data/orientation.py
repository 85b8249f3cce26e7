"""How a photo is to be turned, as its camera noted it (Exif). Plain Python, as the command line reads it."""

import struct
from pathlib import Path
from typing import IO

from PIL import ExifTags, Image

UPRIGHT = 1
ON_ITS_SIDE = (5, 6, 7, 8)  # height and width change places
JPEG_FORMATS = ("JPEG", "MPO")  # as PIL calls them; MPO has further pictures behind the first


def orientation(image: Path | IO[bytes]) -> int:
    """The Exif orientation of a JPEG file, 1 to 8; 1 (upright) where it has none that can be read, or is no JPEG."""
    try:
        with Image.open(image) as opened:
            noted = opened.getexif().get(ExifTags.Base.Orientation) if opened.format in JPEG_FORMATS else None
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return UPRIGHT
    return noted if noted in range(1, 9) else UPRIGHT
