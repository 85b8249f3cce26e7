"""Settings of the Augmenter."""

from typing import Literal

from pydantic import Field, model_validator

from model_patching.data.settings import Settings

DEFAULT_JPEG_QUALITY = 95


class AugmenterSettings(Settings):
    """How patched images are made and stored.

    Attributes:
        splits: splits that get patched images; the others are copied as they are. Training needs those of train, the
            report those of test, nothing those of validation.
        batch_size: images that go through a translator together, at most. A translator that normalizes over its batch
            gives other images for another size; it is diagnosed with this one, and so trained anew for another.
        image_format: how a patched image is stored.
        jpeg_quality: 1 ... 100, only with `image_format: jpeg`; null means 95.
        records_per_shard: records of an output file, at most, unless a batch has more. A worker holds one in memory.
    """

    splits: tuple[Literal["train", "validation", "test"], ...] = Field(
        default=("train", "test"), min_length=1
    )
    batch_size: int = Field(default=128, ge=1)
    image_format: Literal["png", "jpeg"] = "png"
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)
    records_per_shard: int = Field(default=2000, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> "AugmenterSettings":
        if len(set(self.splits)) != len(self.splits):
            raise ValueError("splits: each at most once")
        if self.jpeg_quality is not None and self.image_format != "jpeg":
            raise ValueError("jpeg_quality needs image_format: jpeg")
        return self
