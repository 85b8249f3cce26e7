"""Settings of where patched images come from."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from model_patching.data.settings import Settings

Text = Annotated[str, Field(min_length=1)]


class PatchingSettings(Settings):
    """Whether patched images are made by translators of one's own, or are the published ones.

    Attributes:
        source: "cyclegan" trains translators and runs the Augmenter, "published" reads `folder`.
        folder: the published stage-1 files, local or remote: a folder for each group and split, with a pair of folders
            in it, `….model[gen_f]` and `….model[gen_g]`.
        prefer: where several pairs are there for a group, the one whose path has most of these texts is taken.
        files_read_at_once: of the record files, when the patched images were made; the order of the images depends on
            it. The research code read as many as its machine had processors, which isn't published: null finds it out,
            as an image resembles its own patched images more than those of others.
        min_resemblance: of some images of each group, the share that must resemble their own patched image more than
            those of the others, or the order is taken for wrong.
    """

    source: Literal["cyclegan", "published"] = "cyclegan"
    folder: Annotated[Text, AfterValidator(lambda folder: folder.rstrip("/") or "/")] | None = None
    prefer: tuple[Text, ...] = ()
    files_read_at_once: int | None = Field(default=None, ge=1)
    min_resemblance: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "PatchingSettings":
        if self.source == "published" and self.folder is None:
            raise ValueError("source: published needs folder, that of the published stage-1 files")
        if self.source == "cyclegan":
            for name, field in type(self).model_fields.items():
                if name != "source" and getattr(self, name) != field.default:
                    raise ValueError(f"{name} goes with source: published only")
        return self
