"""Settings of the SubgroupReport."""

from pydantic import Field

from model_patching.data.settings import Settings


class SubgroupReportSettings(Settings):
    """What the report shows beyond the figures.

    Attributes:
        mistakes: how many images of each group are shown of those that the model got wrong, the surest first.
        translation_sheets: how many sample sheets of each pair of subgroups of each translator model are shown: from
            the first to that of the step that was kept, spread evenly over the training; 1 shows the kept one alone, 0
            none. Large sheets are shown as JPEG.
    """

    mistakes: int = Field(default=5, ge=0, le=50)
    translation_sheets: int = Field(default=3, ge=0, le=20)
