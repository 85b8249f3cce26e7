import pytest
from pydantic import ValidationError

from model_patching.components.augmenter.settings import AugmenterSettings


def test_defaults():
    settings = AugmenterSettings.model_validate_json("{}")
    assert (
        settings.splits == ("train", "test") and settings.batch_size == 128 and settings.image_format == "png"
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"splits": []}', "splits"),
        ('{"splits": ["val"]}', "splits.0"),
        ('{"splits": ["train", "train"]}', "each at most once"),
        ('{"batch_size": 0}', "batch_size"),
        ('{"image_format": "gif"}', "image_format"),
        ('{"jpeg_quality": 90}', "jpeg_quality needs image_format: jpeg"),
        ('{"image_format": "jpeg", "jpeg_quality": 101}', "jpeg_quality"),
        ('{"records_per_shard": 0}', "records_per_shard"),
    ],
)
def test_bad_settings_are_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        AugmenterSettings.model_validate_json(text)
