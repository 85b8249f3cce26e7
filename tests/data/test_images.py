import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image, ImageOps

from model_patching.data.image_settings import ImageSettings
from model_patching.data.images import ImageError, prepare_image

AS_FOUND = ImageSettings()
RED, GREEN = (200, 0, 0), (0, 100, 0)


def encode(pixels, kind="PNG", mode=None):
    """An image file, written by another library than the one that is tested."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8), mode).save(file, kind)
    return file.getvalue()


def plain(height, width, colour):
    return np.tile(np.array(colour, np.uint8), (height, width, 1))


def decode(encoded):
    return tf.io.decode_image(encoded, expand_animations=False).numpy()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_that_fits_keeps_its_bytes(kind):
    encoded = encode(plain(4, 6, RED), kind)
    every_setting = ImageSettings(resize=True, crop=True, convert_channels=True)
    assert prepare_image(encoded, (4, 6, 3), AS_FOUND) == encoded
    assert prepare_image(encoded, (4, 6, 3), every_setting) == encoded


def test_images_of_another_size_are_refused_or_scaled():
    encoded = encode(plain(8, 6, RED))
    with pytest.raises(ImageError) as caught:
        prepare_image(encoded, (4, 4, 3), AS_FOUND)
    assert str(caught.value) == (
        "image of another size: found 6 × 8 pixels, expected 4 × 4; to scale it: --resize or data.image.resize"
    )
    scaled = prepare_image(encoded, (4, 5, 3), ImageSettings(resize=True))
    assert scaled.startswith(b"\x89PNG")
    assert (decode(scaled) == plain(4, 5, RED)).all()


# The centre is green: a square of a wide image, and a wide part of a high one.
@pytest.mark.parametrize(
    "height, width, rows, columns, shape",
    [(4, 8, slice(None), slice(2, 6), (2, 2, 3)), (9, 8, slice(2, 6), slice(None), (3, 6, 3))],
)
def test_crop_takes_the_largest_centred_part_of_the_records_proportions(height, width, rows, columns, shape):
    pixels = plain(height, width, RED)
    pixels[rows, columns] = GREEN
    cropped = decode(prepare_image(encode(pixels), shape, ImageSettings(resize=True, crop=True)))
    assert (cropped == plain(*shape[:2], GREEN)).all()
    whole = decode(prepare_image(encode(pixels), shape, ImageSettings(resize=True)))
    assert whole.shape == shape and (whole[..., 0] > 0).any()


def test_channels_are_converted_only_when_that_is_wanted():
    colour, grey = encode(plain(2, 2, (200, 100, 50))), encode(np.full((2, 2), 77))
    convert = ImageSettings(convert_channels=True)
    with pytest.raises(
        ImageError,
        match=r"^image of another kind: found colour, expected grey; to convert it: --grey or data\.image",
    ):
        prepare_image(colour, (2, 2, 1), AS_FOUND)
    with pytest.raises(
        ImageError,
        match=r"found grey, expected colour; to convert it: --color or data\.image\.convert_channels$",
    ):
        prepare_image(grey, (2, 2, 3), AS_FOUND)
    assert (decode(prepare_image(grey, (2, 2, 3), convert)) == 77).all()
    luminance = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    found = decode(prepare_image(encode(plain(2, 2, (200, 100, 50)), "JPEG"), (2, 2, 1), convert))
    assert found.shape == (2, 2, 1) and np.abs(found - luminance).max() <= 2
    assert decode(prepare_image(colour, (2, 2, 1), convert)).shape == (2, 2, 1)


def test_transparency_is_dropped_when_channels_are_converted():
    transparent = encode(np.tile(np.array([10, 20, 30, 128], np.uint8), (2, 2, 1)), mode="RGBA")
    with pytest.raises(
        ImageError, match="found colour with transparency, expected colour; to convert it: --color"
    ):
        prepare_image(transparent, (2, 2, 3), AS_FOUND)
    opaque = decode(prepare_image(transparent, (2, 2, 3), ImageSettings(convert_channels=True)))
    assert (opaque == plain(2, 2, (10, 20, 30))).all()


def test_images_are_encoded_as_they_were_found_or_as_is_wanted():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    scaled = {
        quality: prepare_image(
            encode(noise, "JPEG"), (16, 16, 3), ImageSettings(resize=True, jpeg_quality=quality)
        )
        for quality in (50, 95)
    }
    assert scaled[95].startswith(b"\xff\xd8") and len(scaled[50]) < len(scaled[95])
    png = encode(noise)
    jpeg = prepare_image(png, (32, 32, 3), ImageSettings(encoding="jpeg"))
    assert jpeg.startswith(b"\xff\xd8")
    # What is PNG from JPEG has the JPEG's very pixels.
    again = prepare_image(jpeg, (32, 32, 3), ImageSettings(encoding="png"))
    assert again.startswith(b"\x89PNG") and (decode(again) == decode(jpeg)).all()
    assert prepare_image(png, (32, 32, 3), ImageSettings(encoding="png")) == png


@pytest.mark.parametrize("noted", range(1, 9))
def test_a_photo_is_turned_as_its_camera_noted(noted):
    pixels = plain(16, 32, RED)
    pixels[:8, :16] = GREEN
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = noted
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=100)
    seen = np.asarray(ImageOps.exif_transpose(Image.open(file))).astype(int)
    prepared = prepare_image(file.getvalue(), seen.shape, AS_FOUND)
    assert prepared.startswith(b"\xff\xd8") and (prepared == file.getvalue()) == (noted == 1)
    assert np.abs(decode(prepared) - seen).mean() < 4
    grey = ImageSettings(convert_channels=True, encoding="png")
    assert decode(prepare_image(file.getvalue(), (*seen.shape[:2], 1), grey)).shape == (*seen.shape[:2], 1)


def test_an_orientation_that_cannot_be_read_turns_nothing():
    file = io.BytesIO()
    Image.fromarray(plain(4, 6, RED)).save(file, "JPEG", exif=b"Exif\0\0no such thing")
    assert prepare_image(file.getvalue(), (4, 6, 3), AS_FOUND) == file.getvalue()


def test_what_cannot_be_decoded_is_refused():
    with pytest.raises(ImageError, match="^the image is neither PNG nor JPEG$"):
        prepare_image(b"GIF89a?", (2, 2, 3), AS_FOUND)
    with pytest.raises(ImageError, match="^the image is neither PNG nor JPEG$"):
        prepare_image(b"", (2, 2, 3), AS_FOUND)
    for kind in ("PNG", "JPEG"):
        encoded = encode(np.random.default_rng(0).integers(0, 256, (32, 32, 3)), kind)
        with pytest.raises(ImageError, match="^the image can't be decoded: .+") as caught:
            prepare_image(encoded[: len(encoded) // 2], (32, 32, 3), AS_FOUND)
        assert "\n" not in str(caught.value) and "{{" not in str(caught.value)
