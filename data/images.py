"""Brings an encoded image to the shape and encoding that the records have."""

import io

import tensorflow as tf

from model_patching.data.image_settings import ImageSettings
from model_patching.data.orientation import UPRIGHT, orientation
from model_patching.data.tensorflow_errors import first_line

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff"}
# What turns the pixels of each Exif orientation upright: whether rows and columns change places, and then the axes that
# are reversed.
TURNS = {
    2: (False, [1]),
    3: (False, [0, 1]),
    4: (False, [0]),
    5: (True, []),
    6: (True, [1]),
    7: (True, [0, 1]),
    8: (True, [0]),
}


class ImageError(ValueError):
    """An image can't be used. The message is one line and doesn't say which image it was."""


def prepare_image(encoded: bytes, shape: tuple[int, int, int], settings: ImageSettings) -> bytes:
    """Decodes an image, and encodes it again where it isn't what is wanted; otherwise its bytes stay as they are.

    A JPEG whose camera noted another orientation than upright is turned.

    Args:
        encoded: PNG or JPEG.
        shape: height, width and channels that it must have.
        settings: what may be done to it.

    Raises:
        ImageError: it can't be decoded, or it has another shape and `settings` don't say what to do.
    """
    found = next((name for name, magic in MAGIC.items() if encoded.startswith(magic)), None)
    if found is None:
        raise ImageError("the image is neither PNG nor JPEG")
    noted = orientation(io.BytesIO(encoded)) if found == "jpeg" else UPRIGHT
    pixels = _turn(_decode(encoded), noted)
    wanted = found if settings.encoding == "as_found" else settings.encoding
    if pixels.shape == shape and wanted == found and noted == UPRIGHT:
        return encoded
    if pixels.shape[2] != shape[2]:
        if not settings.convert_channels:
            raise ImageError(
                f"image of another kind: found {_channels(pixels.shape[2])}, expected {_channels(shape[2])};"
                f" to convert it: {'--grey' if shape[2] == 1 else '--color'} or data.image.convert_channels"
            )
        pixels = _turn(_decode(encoded, channels=shape[2]), noted)
    if pixels.shape != shape:
        if not settings.resize:
            raise ImageError(
                f"image of another size: found {pixels.shape[1]} × {pixels.shape[0]} pixels, expected"
                f" {shape[1]} × {shape[0]}; to scale it: --resize or data.image.resize"
            )
        if settings.crop:
            pixels = _crop(pixels, shape[0], shape[1])
        scaled = tf.image.resize(pixels, shape[:2], "bilinear", antialias=True)
        pixels = tf.saturate_cast(tf.round(scaled), tf.uint8)
    if wanted == "png":
        return tf.io.encode_png(pixels).numpy()
    return tf.io.encode_jpeg(pixels, quality=settings.jpeg_quality).numpy()


def _decode(encoded: bytes, channels: int = 0) -> tf.Tensor:
    """Pixels, uint8 [H, W, C], with as many channels as the image has unless told otherwise."""
    try:
        return tf.io.decode_image(encoded, channels=channels, expand_animations=False)
    except tf.errors.OpError as error:
        raise ImageError(f"the image can't be decoded: {first_line(error)}") from None


def _turn(pixels: tf.Tensor, noted: int) -> tf.Tensor:
    """Pixels as they are seen; TensorFlow decodes them as they are stored."""
    if noted == UPRIGHT:
        return pixels
    transposed, axes = TURNS[noted]
    if transposed:
        pixels = tf.transpose(pixels, [1, 0, 2])
    return tf.reverse(pixels, axes) if axes else pixels


def _crop(pixels: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """The largest part around the centre that has the proportions of height and width."""
    found_height, found_width = pixels.shape[:2]
    cropped_height = min(found_height, max(1, round(found_width * height / width)))
    cropped_width = min(found_width, max(1, round(found_height * width / height)))
    top, left = (found_height - cropped_height) // 2, (found_width - cropped_width) // 2
    return pixels[top : top + cropped_height, left : left + cropped_width]


def _channels(count: int) -> str:
    """What an image with so many channels is."""
    return {1: "grey", 2: "grey with transparency", 3: "colour", 4: "colour with transparency"}[count]
