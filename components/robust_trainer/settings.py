"""The settings of the RobustTrainer."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from model_patching.components.robust_trainer.backbone_names import SMALL_CNN, BackboneName
from model_patching.data.settings import Settings

Count = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]

# Keys that belong to some methods alone.
METHODS_OF_KEY = {
    "group_dro_step": ("group_dro", "camel"),
    "group_dro_adjustment": ("group_dro", "camel"),
    "group_dro_per_class": ("group_dro", "camel"),
    "irm_penalty_weight": ("irm",),
    "irm_anneal_steps": ("irm",),
    "dfr_sets": ("dfr",),
    "dfr_strengths": ("dfr",),
}


class RobustTrainerSettings(Settings):
    """How the classifier is trained. Symbols as in Goel et al. 2020 and Sagawa et al. 2020.

    A key that the other settings leave without effect must keep its default.

    Attributes:
        method: "erm": the mean loss over examples drawn in proportion. "balanced_erm": the mean loss over
            group-balanced batches. "group_dro": such batches, and the worst group weighs most. "irm": such batches, and
            a penalty on groups that would scale the logits differently (Arjovsky et al. 2019). "camel": Group DRO
            within each class and the consistency penalty on patched examples. "dfr": ERM, and then the last layer anew
            on group-balanced validation examples (Kirichenko et al. 2023).
        backbone: "small_cnn", or the name of a network in `keras.applications`, such as "ResNet50".
        weights: of a network in `keras.applications`, without its last layer: "none" (random), "imagenet" (downloaded),
            or a file that `keras.Model.load_weights` reads (not of EfficientNetB0 to B7).
        epochs: passes, at most; the validation groups are scored after each.
        steps_per_epoch: training steps a pass.
        batch_size: examples of each group a step, over all devices. ERM draws the same number in total from the whole
            split.
        optimizer: "sgd", "adam" or "adamw".
        momentum: SGD's.
        learning_rate: at the start.
        schedule: "constant", or over all steps "linear" or "cosine" decay to zero.
        clip_norm: greatest norm of all gradients together; null doesn't clip.
        weight_decay: rate of the penalty rate * sum 0.5 * ||w||^2 over all trainable weights in the loss, as published.
        decoupled_weight_decay: what each step takes off the weights, times the learning rate (Loshchilov and Hutter
            2019); of SGD and AdamW.
        group_dro_step: eta, the step of the adversarial log-weights.
        group_dro_adjustment: C in the adjusted loss l_g + C / sqrt(n_g).
        group_dro_per_class: whether the groups compete within their class alone, the classes weighing the same; null
            means so for CAMEL and not for Group DRO, as published.
        irm_penalty_weight: of IRM's penalty, the mean over the groups, which looks at the original images alone.
        irm_anneal_steps: steps before it counts.
        dfr_sets: group-balanced draws of the validation split whose last layers are averaged.
        dfr_strengths: inverse strengths of the last layer's L1 penalty to choose from.
        consistency: penalty where the predictions on an image and its renditions disagree, with any method: "camel",
            "triplet_js", "kl", "reverse_kl" or "none"; null means "camel" for CAMEL and "none" for the others.
        consistency_weight: lambda, its weight.
        augmentation_training: which images the main loss sees: the "original", the "augmented", that is, patched ones,
            or "both".
        selection: which epoch is exported: the best "worst_group" accuracy on validation, ties by the average; the best
            "average" there, ties by the worst group; or the "last".
        patience: epochs without a better one after which the training stops; null never stops early.
        seed: fixes weights, batches and dropout; null takes the pipeline's, which also fixes the data and stage 1.
        cache_gib: GiB of memory for the decoded images of a split; more of them go to a scratch file on disk.
        strategy: "default": one device. "mirrored": all GPUs of this machine. "multi_worker": those of several
            machines, each of which has TF_CONFIG set.
        mixed_precision: compute in bfloat16 and keep the weights in float32. "auto" does so on CPUs with AVX512_BF16
            or AMX, where it is faster, and not on GPUs.
        jit_compile: compile the step with XLA: for GPUs, with the default strategy.
        log_every: steps between two points of the tracker's curves.
    """

    method: Literal["erm", "balanced_erm", "group_dro", "irm", "camel", "dfr"] = "camel"
    backbone: BackboneName = SMALL_CNN
    weights: Annotated[str, Field(min_length=1)] = "none"
    epochs: Count = 10
    steps_per_epoch: Count = 200
    batch_size: Count = 100
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    learning_rate: Rate = 0.02
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    clip_norm: Rate | None = None
    weight_decay: Scale = 5e-4
    decoupled_weight_decay: Scale = 0.0
    group_dro_step: Scale = 0.01
    group_dro_adjustment: Scale = 1.0
    group_dro_per_class: bool | None = None
    irm_penalty_weight: Scale = 100.0
    irm_anneal_steps: Annotated[int, Field(ge=0)] = 100
    dfr_sets: Count = 10
    dfr_strengths: Annotated[tuple[Rate, ...], Field(min_length=1)] = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
    consistency: Literal["camel", "triplet_js", "kl", "reverse_kl", "none"] | None = None
    consistency_weight: Scale = 5.0
    augmentation_training: Literal["original", "augmented", "both"] = "original"
    selection: Literal["worst_group", "average", "last"] = "worst_group"
    patience: Count | None = None
    seed: Annotated[int, Field(ge=0, le=2**20)] | None = None
    cache_gib: Scale = 4.0
    strategy: Literal["default", "mirrored", "multi_worker"] = "default"
    mixed_precision: Literal["auto", "on", "off"] = "auto"
    jit_compile: bool = False
    log_every: Count = 20

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> "RobustTrainerSettings":
        for key, methods in METHODS_OF_KEY.items():
            if self.method not in methods and self._is_set(key):
                raise ValueError(f"{key} needs method {' or '.join(methods)}")
        if self.penalty == "none" and self._is_set("consistency_weight"):
            raise ValueError(
                "consistency_weight needs a consistency penalty: leave it out, or set consistency"
            )
        if self.backbone == SMALL_CNN and self.weights != "none":
            raise ValueError(f"weights needs a backbone of keras.applications; {SMALL_CNN} has none")
        if self.backbone.startswith("EfficientNetB") and self.weights not in ("none", "imagenet"):
            raise ValueError(
                f"weights: Keras rescales the images of {self.backbone} for weights imagenet alone: set that, and put "
                "the published file into ~/.keras/models, where Keras looks before it downloads"
            )
        if self.optimizer != "sgd" and self._is_set("momentum"):
            raise ValueError("momentum needs optimizer sgd")
        if self.optimizer == "adam" and self.decoupled_weight_decay:
            raise ValueError("decoupled_weight_decay with adam is optimizer adamw")
        if self.optimizer == "adamw" and not self.decoupled_weight_decay:
            raise ValueError("adamw without decoupled_weight_decay is optimizer adam")
        if self.selection == "last" and self.patience is not None:
            raise ValueError(
                "patience needs selection worst_group or average: there is no better epoch with last"
            )
        if self.strategy != "default" and self.jit_compile:
            raise ValueError("jit_compile needs strategy default")
        return self

    @property
    def penalty(self) -> str:
        """The consistency penalty: "camel", "triplet_js", "kl", "reverse_kl" or "none"."""
        return self.consistency or ("camel" if self.method == "camel" else "none")

    @property
    def uses_patches(self) -> bool:
        """Whether the training needs patched examples."""
        return self.penalty != "none" or self.augmentation_training != "original"

    @property
    def per_class(self) -> bool:
        """Whether Group DRO's groups compete within their class alone."""
        return self.method == "camel" if self.group_dro_per_class is None else self.group_dro_per_class

    def _is_set(self, key: str) -> bool:
        return getattr(self, key) != type(self).model_fields[key].default
