"""Images as they stand in a page: in the page itself, and small enough for that."""

import base64
import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

JPEG_QUALITY = 85


@dataclass(frozen=True)
class Picture:
    """One image.

    Attributes:
        content: of a PNG or JPEG file.
        media_type: "image/png" or "image/jpeg".
        size: width and height in pixels.
    """

    content: bytes
    media_type: str
    size: tuple[int, int]

    @property
    def data_uri(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


def picture(content: bytes, largest: int, what: str, longest_side: int | None = None) -> Picture:
    """Takes an image as it is, or makes a JPEG of it, which has about a tenth of a PNG's bytes.

    Args:
        content: of a PNG or JPEG file.
        largest: bytes of an image that is taken as it is, at most.
        what: the image's name, for the message.
        longest_side: pixels; an image whose width or height is more is made smaller. None keeps every size.

    Raises:
        ValueError: it can't be decoded; the message begins with `what`.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            is_small = longest_side is None or max(image.size) <= longest_side
            if is_small and len(content) <= largest and image.format in ("PNG", "JPEG"):
                image.load()
                return Picture(content, Image.MIME[image.format], image.size)
            shown = image.convert("L" if image.mode == "L" else "RGB")
            if not is_small:
                shown.thumbnail((longest_side, longest_side))
            buffer = io.BytesIO()
            shown.save(buffer, "JPEG", quality=JPEG_QUALITY)
            return Picture(buffer.getvalue(), "image/jpeg", shown.size)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{what} is not an image: {error}") from error
