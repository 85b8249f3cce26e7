"""What the replicas of a training step, one for each device, tell each other."""

import numpy as np
import tensorflow as tf


def agreed(value: np.ndarray, strategy: tf.distribute.Strategy) -> np.ndarray:
    """The mean over all replicas of what each worker has found out by itself.

    Several machines may round differently, and what they decide by the value must be decided alike.

    Args:
        value: float64, of the same shape on each worker.
        strategy: whose workers all call this.
    """
    mine = strategy.run(lambda: tf.constant(value))
    return strategy.reduce(tf.distribute.ReduceOp.MEAN, mine, axis=None).numpy()


def mean_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The mean of a tensor over all replicas, differentiable; the tensor itself where there is but one."""
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, value)
