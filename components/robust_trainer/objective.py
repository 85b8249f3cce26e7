"""Puts a method's terms together: the main loss, the consistency penalty and the weight decay."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from model_patching.components.robust_trainer.consistency import camel_consistency
from model_patching.components.robust_trainer.erm import erm_loss
from model_patching.components.robust_trainer.group_dro import GroupDRO
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.weight_decay import weight_decay


class Objective:
    """The loss that a method minimizes."""

    def __init__(self, settings: RobustTrainerSettings, group_count: np.ndarray):
        """Sets up the method's own state.

        Args:
            settings: method and weights of its terms.
            group_count: int [C, K], training examples of each group.
        """
        self.settings = settings
        self.num_groups = group_count.size
        self.group_dro = None
        if settings.method != "erm":
            self.group_dro = GroupDRO(
                group_count,
                settings.group_dro_step,
                settings.group_dro_adjustment,
                settings.group_dro_per_class,
            )

    def __call__(
        self,
        logits: tf.Tensor,
        patched_logits: tf.Tensor | None,
        label: tf.Tensor,
        variables: Sequence[keras.Variable],
    ) -> dict[str, tf.Tensor]:
        """Computes the loss of a batch; for Group DRO and CAMEL it also moves the group weights.

        Args:
            logits: float32 [n, C], of the images; for Group DRO and CAMEL group after group, equally many each.
            patched_logits: float32 [n, K, C], of their renditions, or None without patches.
            label: int32 [n].
            variables: the weights that decay.

        Returns:
            Each float32 []: `loss` (what is minimized), and its terms `main_loss`, `consistency` (before its weight;
            only CAMEL) and `weight_decay`.
        """
        log_probabilities = tf.nn.log_softmax(logits)
        example_loss = cross_entropy(log_probabilities, label)
        terms = {}
        penalty = 0.0
        if patched_logits is not None:
            patched_log_probabilities = tf.nn.log_softmax(patched_logits)
            if self.settings.augmentation_training == "both":
                patched_loss = cross_entropy(patched_log_probabilities, label[:, None])
                example_loss = tf.reduce_mean(
                    tf.concat([example_loss[:, None], patched_loss], axis=1), axis=1
                )
            # The mean within each group, summed over the groups.
            consistency = camel_consistency(log_probabilities, patched_log_probabilities)
            terms["consistency"] = self.num_groups * tf.reduce_mean(consistency)
            penalty = self.settings.consistency_weight * terms["consistency"]

        if self.group_dro is None:
            terms["main_loss"] = erm_loss(example_loss)
        else:
            per_group = tf.reshape(example_loss, [*self.group_dro.log_weights.shape, -1])
            terms["main_loss"] = self.group_dro.loss(tf.reduce_mean(per_group, axis=2))
        terms["weight_decay"] = weight_decay(variables, self.settings.weight_decay)
        return {"loss": terms["main_loss"] + penalty + terms["weight_decay"], **terms}


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
