"""What the replicas of a training step, one for each device, tell each other."""

import tensorflow as tf


def mean_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The mean of a tensor over all replicas, differentiable; the tensor itself where there is but one."""
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return value
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, value)
