"""Group DRO: the loss of the groups under weights that grow where the loss is high.

Source: Sagawa et al. 2020, "Distributionally Robust Neural Networks for Group Shifts", algorithm 1 and section 3.3;
the weights within each class as in Goel et al. 2020.
"""

import numpy as np
import tensorflow as tf

from model_patching.components.robust_trainer.replicas import mean_over_replicas


class GroupDRO:
    """Keeps the adversarial log-weights of the groups, and weighs their losses with them.

    Attributes:
        log_weights: float32 [C, K], the adversary's state.
    """

    def __init__(self, group_count: np.ndarray, step: float, adjustment: float, per_class: bool):
        """Starts with equal weights.

        Args:
            group_count: int [C, K], training examples of each group.
            step: eta, how fast the log-weights follow the losses.
            adjustment: C in the adjusted loss l_g + C / sqrt(n_g).
            per_class: whether the weights compete within each class alone, every class having the share of the groups
                that are its own, 1 / C, instead of over all groups.
        """
        count = group_count.astype(np.float32)
        # All replicas move them alike.
        self.log_weights = tf.Variable(
            tf.zeros(count.shape),
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self._shape = count.shape
        self._step = step
        self._penalty = adjustment / np.sqrt(count)
        self._per_class = per_class

    def weights(self) -> tf.Tensor:
        """Present weights of the groups; float32 [C, K], sums to one."""
        if self._per_class:
            return tf.nn.softmax(self.log_weights, axis=1) / self._shape[0]
        return tf.reshape(tf.nn.softmax(tf.reshape(self.log_weights, [-1])), self._shape)

    def loss(self, group_loss: tf.Tensor) -> tf.Tensor:
        """Moves the weights towards the groups with the higher loss, and returns the weighted loss.

        No gradient flows through the weights: they are the adversary's move, not the model's.

        Args:
            group_loss: float32 [C * K], mean loss of each group on this device.

        Returns:
            float32 []: sum over groups of weight * (group_loss + adjustment / sqrt(n)).
        """
        adjusted = tf.reshape(group_loss, self._shape) + self._penalty
        self.log_weights.assign_add(self._step * mean_over_replicas(tf.stop_gradient(adjusted)))
        return tf.reduce_sum(tf.stop_gradient(self.weights()) * adjusted)
