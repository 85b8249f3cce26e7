"""Images as they stand in a page."""

import io

import numpy as np
import pytest
from PIL import Image

from model_patching.components.subgroup_report.mistakes import LARGEST_IMAGE, LONGEST_SIDE, read_pictures
from model_patching.components.subgroup_report.picture import picture
from model_patching.components.subgroup_report.score import Answer, Mistake


def _encoded(width, height, kind="PNG", mode="RGB"):
    """An image that can't be compressed much: noise on a slope from black to white."""
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    values = (np.linspace(0, 195, width)[None, :, None] + noise).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def _decoded(content):
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize(("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_a_small_image_stays_as_it_is(kind, media_type):
    content = _encoded(40, 30, kind)
    found = picture(content, 20_000, "it", longest_side=40)
    assert (found.content, found.media_type, found.size) == (content, media_type, (40, 30))


def test_many_bytes_become_a_jpeg_of_the_same_size():
    content = _encoded(200, 100, mode="L")
    found = picture(content, 1000, "it")
    image = _decoded(found.content)
    assert (image.format, image.mode, image.size) == ("JPEG", "L", found.size) == ("JPEG", "L", (200, 100))
    assert len(found.content) < len(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("size", "shown"), [((512, 384), (256, 192)), ((300, 600), (128, 256))])
def test_a_large_image_is_made_smaller(kind, size, shown):
    found = picture(_encoded(*size, kind), 10**9, "it", longest_side=256)
    image = _decoded(found.content)
    assert found.media_type == "image/jpeg" and image.size == found.size == shown
    middle = np.asarray(image)[:, shown[0] // 2].mean()
    assert middle == pytest.approx(195 / 2 + 59 / 2, abs=5)


def test_the_images_of_a_mistake_are_small(scores):
    large = Answer(_encoded(512, 512, "JPEG"), 0, 0.9)
    scores.mistakes[1, 0] = [Mistake("large", large, (large,))]
    for found in read_pictures(scores)["large"]:
        assert max(found.size) == LONGEST_SIDE and len(found.content) < 2 * LARGEST_IMAGE


def test_no_image():
    with pytest.raises(ValueError, match="^it is not an image: "):
        picture(b"nothing", 1000, "it")
