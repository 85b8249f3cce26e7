"""The settings of the CycleGANTrainer."""

from typing import Annotated

from pydantic import Field, model_validator

from model_patching.data.settings import Settings

Filters = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Scale = Annotated[float, Field(ge=0)]


class CycleGANTrainerSettings(Settings):
    """How the translators between two subgroups are trained.

    Attributes:
        generator_filters: channels of each down-sampling convolution of the generators; the ups mirror them.
        discriminator_filters: channels of the discriminators' convolutions; all but the last halve the resolution.
        steps: training steps.
        batch_size: images of each subgroup a step, drawn evenly over the classes.
        generator_learning_rate: Adam's, constant for the first half of the steps, then linear to zero.
        discriminator_learning_rate: likewise.
        beta_1: Adam's, for both.
        cycle_loss_scale: weight of mean|G(F(x)) - x|.
        identity_loss_scale: weight of 0.5 * mean|F(y) - y|.
        replay_buffer_size: past translations that the discriminators draw from, at least a batch.
        log_every: steps between two points of the training curves.
        sheet_every: steps between two sample sheets.
    """

    generator_filters: Annotated[tuple[Filters, ...], Field(min_length=2)] = (32, 64, 128, 256, 512)
    discriminator_filters: Annotated[tuple[Filters, ...], Field(min_length=2)] = (64, 128, 256, 512)
    steps: Annotated[int, Field(ge=1)] = 4000
    batch_size: Annotated[int, Field(ge=1)] = 24
    generator_learning_rate: Rate = 2e-4
    discriminator_learning_rate: Rate = 2e-4
    beta_1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    cycle_loss_scale: Scale = 10.0
    identity_loss_scale: Scale = 1.0
    replay_buffer_size: Annotated[int, Field(ge=1)] = 50
    log_every: Annotated[int, Field(ge=1)] = 20
    sheet_every: Annotated[int, Field(ge=1)] = 500

    @model_validator(mode="after")
    def _buffer_holds_a_batch(self) -> "CycleGANTrainerSettings":
        if self.replay_buffer_size < self.batch_size:
            raise ValueError(
                f"replay_buffer_size {self.replay_buffer_size} must be at least batch_size {self.batch_size}"
            )
        return self
