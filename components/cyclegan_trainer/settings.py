"""The settings of the CycleGANTrainer."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from model_patching.data.settings import Settings

Filters = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2)]
Rate = Annotated[float, Field(gt=0)]
Scale = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class ImageAugmentation(Settings):
    """Random changes of images, each drawn anew for every image; none of them by default.

    Attributes:
        probability: of an image to be changed at all; the other figures are of the changed ones.
        rotation: degrees, at most, to either side.
        pad_and_crop: pixels, at most, by which an image moves along each axis; what comes in is black.
        flip_left_right: probability of a mirror image.
        crop: share of the width or height, at most, that is cut off at each side; the rest is enlarged again.
    """

    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    pad_and_crop: Annotated[int, Field(ge=0)] = 0
    flip_left_right: Share = 0.0
    crop: Annotated[float, Field(ge=0, lt=0.5)] = 0.0

    @model_validator(mode="after")
    def _probability_is_of_something(self) -> "ImageAugmentation":
        if self.probability != 1 and not self.changes:
            raise ValueError("probability needs a change: rotation, pad_and_crop, flip_left_right or crop")
        return self

    @property
    def changes(self) -> bool:
        """Whether there is anything to be changed."""
        return any((self.rotation, self.pad_and_crop, self.flip_left_right, self.crop))


class ProbeSettings(Settings):
    """How the two probes are trained: small classifiers of the class and of the subgroup that judge translations.

    Attributes:
        filters: channels of each block of the probes' networks; each block halves the resolution.
        steps: training steps.
        batch_size: images of each group a step.
        learning_rate: Adam's at the start; it falls to zero along a cosine.
        take: training images of each group, at most; null takes all.
    """

    filters: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 64)
    steps: Count = 1200
    batch_size: Count = 32
    learning_rate: Rate = 4e-3
    take: Count | None = 2000


class CycleGANTrainerSettings(Settings):
    """How the translators between the subgroups are trained. Symbols as in Zhu et al. 2017 and Goel et al. 2020.

    Attributes:
        take: training images of each group, at most, drawn by the seed; "smallest_group" takes as many of each group as
            the smallest one of its class has, null takes all.
        steps: training steps of each pair of subgroups.
        epochs: passes over the largest subgroup, instead of `steps`; with models of one class each, each then gets
            steps for its own number of images. Null takes `steps`.
        batch_size: images of each subgroup a step, drawn evenly over the classes.
        augmentation: random changes of the training images.
        discriminator_augmentation: random changes of real and translated images alike, each time a discriminator sees
            them (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv:2006.10738).
            They keep it from knowing a rare group's few images by heart. They can leak into the translations; with a
            probability below 1 less easily (Karras et al. 2020, arXiv:2006.06676, section 2). Changes that move a
            subgroup's mark out of sight make an image without it look real, and turned images hide what is small. A
            gradient penalty is taken at the changed images.
        generator_filters: channels of each down-sampling convolution of the generators; the ups mirror them. Null takes
            the published ones: 5 downs up to 32 pixels, 7 up to 128, 8 up to 256.
        discriminator_filters: channels of the discriminators' convolutions; all but the last halve the resolution. Null
            takes the published ones.
        dropout: in the generators' first three ups; null takes the published one, none up to 32 pixels, else 0.5.
        norm: "instancenorm" normalizes each image by itself, "batchnorm" over the batch, as published.
        translate_with: what a translator with batchnorm normalizes with once it is trained: "batch_statistics", as
            published, or the "moving_averages" of the training.
        residual_outputs: the generators' output is added to their input.
        output_init: standard deviation of the initial weights of the generators' last layer.
        gan_loss: adversarial loss: "bce", "lsgan" (least squares) or "wgan".
        gradient_penalty: of the discriminators: "none", "dragan" or "wgan-gp".
        gradient_penalty_scale: its weight.
        cycle_loss_scale: weight of mean|G(F(x)) - x|.
        target_cycle_loss_scale: weight of mean|F(G(y)) - y|, the cycle from the target subgroup; null takes
            cycle_loss_scale. Where the target subgroup adds something that an image of the source subgroup has no room
            for, a low one keeps G from leaving a trace of it.
        source_cycle_loss_only: leaves out the cycle that starts from the target subgroup.
        identity_loss_scale: weight of 0.5 * mean|F(y) - y|.
        replay_buffer_size: past translations that the discriminators draw from; 0 for none.
        generator_learning_rate: Adam's.
        discriminator_learning_rate: likewise.
        generator_beta_1: Adam's.
        discriminator_beta_1: likewise.
        schedule: of both rates: "constant", or "linear" decay to zero.
        decay_from: share of the steps after which the linear decay begins.
        mixed_precision: compute in bfloat16 and keep the weights in float32: for GPUs.
        jit_compile: compile the step with XLA: for GPUs. On a CPU it is several times slower.
        log_every: steps between two points of the training curves.
        diagnose_every: steps between two diagnoses on the validation split, which choose the step that is kept.
        diagnose_images: validation images of each group that a diagnosis translates, at most.
        diagnose_tolerance: the latest step is kept whose lowest score is at most this below the best so far: a
            diagnosis on a hundred images can't tell one percent from chance. What the score is: `diagnostics.py`.
        patience: diagnoses without one better than the best so far after which the training stops; null never stops.
        sheet_every: steps between two sample sheets.
        checkpoint_every: steps between two checkpoints, from which a run that was stopped goes on.
        probe: the classifiers that diagnose.
    """

    take: Count | Literal["smallest_group"] | None = None
    steps: Count = 4000
    epochs: Count | None = None
    batch_size: Count = 24
    augmentation: ImageAugmentation = ImageAugmentation()
    discriminator_augmentation: ImageAugmentation = ImageAugmentation()
    generator_filters: Filters | None = None
    discriminator_filters: Filters | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    norm: Literal["instancenorm", "batchnorm"] = "instancenorm"
    translate_with: Literal["batch_statistics", "moving_averages"] = "batch_statistics"
    residual_outputs: bool = False
    output_init: Rate = 0.02
    gan_loss: Literal["bce", "lsgan", "wgan"] = "lsgan"
    gradient_penalty: Literal["none", "dragan", "wgan-gp"] = "none"
    gradient_penalty_scale: Scale = 10.0
    cycle_loss_scale: Scale = 10.0
    target_cycle_loss_scale: Scale | None = None
    source_cycle_loss_only: bool = False
    identity_loss_scale: Scale = 1.0
    replay_buffer_size: Annotated[int, Field(ge=0)] = 50
    generator_learning_rate: Rate = 2e-4
    discriminator_learning_rate: Rate = 2e-4
    generator_beta_1: Beta = 0.5
    discriminator_beta_1: Beta = 0.5
    schedule: Literal["constant", "linear"] = "linear"
    decay_from: Annotated[float, Field(ge=0, lt=1)] = 0.5
    mixed_precision: Literal["on", "off"] = "off"
    jit_compile: bool = False
    log_every: Count = 20
    diagnose_every: Count = 250
    diagnose_images: Count = 500
    diagnose_tolerance: Share = 0.01
    patience: Count | None = None
    sheet_every: Count = 500
    checkpoint_every: Count = 250
    probe: ProbeSettings = ProbeSettings()

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> "CycleGANTrainerSettings":
        if 0 < self.replay_buffer_size < self.batch_size:
            raise ValueError(
                f"replay_buffer_size {self.replay_buffer_size} must be 0 or at least batch_size {self.batch_size}"
            )
        if self.translate_with == "moving_averages" and self.norm != "batchnorm":
            raise ValueError("translate_with: moving_averages needs norm: batchnorm")
        if self.jit_compile and self.discriminator_augmentation.changes:
            raise ValueError(
                "jit_compile and discriminator_augmentation exclude each other: XLA can't turn or move images"
            )
        default = type(self).model_fields
        if self.epochs is not None and self.steps != default["steps"].default:
            raise ValueError("steps and epochs exclude each other")
        if (
            self.gradient_penalty == "none"
            and self.gradient_penalty_scale != default["gradient_penalty_scale"].default
        ):
            raise ValueError("gradient_penalty_scale needs a gradient_penalty")
        if self.source_cycle_loss_only and self.target_cycle_loss_scale is not None:
            raise ValueError("target_cycle_loss_scale and source_cycle_loss_only exclude each other")
        if self.schedule == "constant" and self.decay_from != default["decay_from"].default:
            raise ValueError("decay_from needs schedule: linear")
        return self

    @property
    def normalizes_over_batch(self) -> bool:
        """Whether a trained translator's result depends on the images beside it."""
        return self.norm == "batchnorm" and self.translate_with == "batch_statistics"

    @property
    def target_scale(self) -> float:
        """Weight of the cycle from the target subgroup."""
        return self.cycle_loss_scale if self.target_cycle_loss_scale is None else self.target_cycle_loss_scale
