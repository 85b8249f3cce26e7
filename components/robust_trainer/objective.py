"""Puts a method's terms together: the main loss, the penalties and the weight decay."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from model_patching.components.robust_trainer.consistency import PENALTIES
from model_patching.components.robust_trainer.erm import erm_loss
from model_patching.components.robust_trainer.group_dro import GroupDRO
from model_patching.components.robust_trainer.irm import irm_penalty, irm_weight
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.weight_decay import weight_decay


class Objective:
    """The loss that a method minimizes.

    Attributes:
        group_dro: the adversary of Group DRO and CAMEL; None with other methods.
    """

    def __init__(self, settings: RobustTrainerSettings, group_count: np.ndarray):
        """Sets up the method's own state.

        Args:
            settings: method and weights of its terms.
            group_count: int [C, K], training examples of each group.
        """
        self.settings = settings
        self.num_groups = group_count.size
        self.group_dro = None
        if settings.method in ("group_dro", "camel"):
            self.group_dro = GroupDRO(
                group_count, settings.group_dro_step, settings.group_dro_adjustment, settings.per_class
            )

    @property
    def variables(self) -> list[tf.Variable]:
        """The method's own state, for checkpoints."""
        return [] if self.group_dro is None else [self.group_dro.log_weights]

    def __call__(
        self,
        logits: tf.Tensor,
        patched_logits: tf.Tensor | None,
        label: tf.Tensor,
        variables: Sequence[keras.Variable],
        step: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Computes the loss of a batch; for Group DRO and CAMEL it also moves the group weights.

        Args:
            logits: float32 [n, C], of the images; but for ERM and DFR group after group, equally many each.
            patched_logits: float32 [n, K, C], of their renditions, or None without patches.
            label: int32 [n].
            variables: the weights that decay.
            step: int32 [], the steps before this one.

        Returns:
            Each float32 []: `loss` (what is minimized), and its terms `main_loss`, `weight_decay` and, where there are
            such penalties, `irm` and `consistency` before their weights.
        """
        settings = self.settings
        log_probabilities = tf.nn.log_softmax(logits)
        versions = [log_probabilities[:, None]] if settings.augmentation_training != "augmented" else []
        if settings.augmentation_training != "original":
            versions.append(tf.nn.log_softmax(patched_logits))
        # Of each example the mean over the versions of its image that the main loss sees.
        example_loss = tf.reduce_mean(cross_entropy(tf.concat(versions, axis=1), label[:, None]), axis=1)

        terms = {"weight_decay": weight_decay(variables, settings.weight_decay)}
        total = terms["weight_decay"]
        if self.group_dro is None:
            terms["main_loss"] = erm_loss(example_loss)
        else:
            terms["main_loss"] = self.group_dro.loss(tf.reduce_mean(self._by_group(example_loss), axis=1))
        total += terms["main_loss"]
        if settings.method == "irm":
            terms["irm"] = irm_penalty(self._by_group(logits), self._by_group(label))
            total += irm_weight(step, settings.irm_penalty_weight, settings.irm_anneal_steps) * terms["irm"]
        if settings.penalty != "none":
            consistency = PENALTIES[settings.penalty](log_probabilities, tf.nn.log_softmax(patched_logits))
            # The mean within each group, summed over the groups.
            terms["consistency"] = self.num_groups * tf.reduce_mean(consistency)
            total += settings.consistency_weight * terms["consistency"]
        return {"loss": total, **terms}

    def _by_group(self, examples: tf.Tensor) -> tf.Tensor:
        """[n, ...] → [groups, examples of each, ...]."""
        return tf.reshape(examples, [self.num_groups, -1, *examples.shape[1:]])


def cross_entropy(log_probabilities: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """-log p(label).

    Args:
        log_probabilities: float32 [..., C].
        label: int32, of a shape that broadcasts to that of `log_probabilities` without its last axis.

    Returns:
        float32 of that shape.
    """
    one_hot = tf.one_hot(label, tf.shape(log_probabilities)[-1])
    return -tf.reduce_sum(one_hot * log_probabilities, axis=-1)
