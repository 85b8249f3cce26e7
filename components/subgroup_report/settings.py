"""Settings of the SubgroupReport."""

from pydantic import Field

from model_patching.data.settings import Settings


class SubgroupReportSettings(Settings):
    """What the report shows beyond the figures.

    Attributes:
        translation_sheets: how many sample sheets of each translator model are shown, the latest ones.
    """

    translation_sheets: int = Field(default=1, ge=0, le=20)
