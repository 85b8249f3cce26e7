"""How the images of a source are brought to the data set's shape. Plain Python, as the command line reads it."""

from typing import Literal

from pydantic import Field, model_validator

from model_patching.data.settings import Settings


class ImageSettings(Settings):
    """What is done to images that aren't what the records are to hold. The others keep their bytes.

    Attributes:
        resize: scale images of another size, bilinearly and with antialiasing, without keeping their proportions.
        crop: before they are scaled, cut them to the data set's proportions: the largest part around the centre.
        convert_channels: make grey images colour or the other way round, and drop transparency.
        encoding: what images are encoded as: "as_found" writes PNG where PNG was found and JPEG where JPEG was.
        jpeg_quality: of the images that are encoded as JPEG again.
    """

    resize: bool = False
    crop: bool = False
    convert_channels: bool = False
    encoding: Literal["as_found", "png", "jpeg"] = "as_found"
    jpeg_quality: int = Field(default=95, ge=1, le=100)

    @model_validator(mode="after")
    def _crop_goes_with_resize(self) -> "ImageSettings":
        if self.crop and not self.resize:
            raise ValueError("crop goes with resize: true, images are cut before they are scaled")
        return self
