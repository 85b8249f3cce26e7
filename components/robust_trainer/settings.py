"""The settings of the RobustTrainer."""

from typing import Annotated, Literal

from pydantic import Field

from model_patching.data.settings import Settings


class RobustTrainerSettings(Settings):
    """How the classifier is trained. Symbols as in Goel et al. 2020 and Sagawa et al. 2020.

    Attributes:
        method: "erm" (the mean loss over examples drawn in proportion), "group_dro" (group-balanced batches, the
            worst group weighs most), or "camel" (Group DRO and the consistency penalty on patched examples).
        epochs: passes; the validation groups are scored after each.
        steps_per_epoch: training steps a pass.
        batch_size: examples of each group a step. ERM draws the same number in total from the whole split.
        learning_rate: SGD's, momentum 0.9.
        schedule: "constant", or "cosine" decay to zero over all steps.
        weight_decay: rate of the penalty rate * sum 0.5 * ||w||^2 over all trainable weights.
        group_dro_step: eta, the step of the adversarial log-weights.
        group_dro_adjustment: C in the adjusted loss l_g + C / sqrt(n_g).
        group_dro_per_class: whether the groups compete within their class alone, the classes weighing the same.
        consistency_weight: lambda, the weight of CAMEL's consistency penalty.
        augmentation_training: which images the main loss sees: "original", or "both" them and the patched ones.
            Only CAMEL has patched ones.
        selection: which epoch is exported: the best "worst_group" accuracy on validation, ties by the average, or the
            best "average" there, ties by the worst group.
        mixed_precision: compute in bfloat16 and keep the weights in float32. "auto" does so on CPUs with AVX512_BF16
            or AMX, where it is faster.
    """

    method: Literal["erm", "group_dro", "camel"] = "camel"
    epochs: Annotated[int, Field(ge=1)] = 10
    steps_per_epoch: Annotated[int, Field(ge=1)] = 200
    batch_size: Annotated[int, Field(ge=1)] = 100
    learning_rate: Annotated[float, Field(gt=0)] = 0.02
    schedule: Literal["constant", "cosine"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    group_dro_step: Annotated[float, Field(ge=0)] = 0.01
    group_dro_adjustment: Annotated[float, Field(ge=0)] = 1.0
    group_dro_per_class: bool = True
    consistency_weight: Annotated[float, Field(ge=0)] = 5.0
    augmentation_training: Literal["original", "both"] = "original"
    selection: Literal["worst_group", "average"] = "worst_group"
    mixed_precision: Literal["auto", "on", "off"] = "auto"
