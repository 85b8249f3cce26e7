"""The devices that a training step is shared by."""

import json
import os
import tempfile

import tensorflow as tf

from model_patching.components.robust_trainer.settings import RobustTrainerSettings


def make_strategy(settings: RobustTrainerSettings) -> tf.distribute.Strategy:
    """Makes TensorFlow's strategy for `settings.strategy`.

    Raises:
        ValueError: TF_CONFIG is missing for several workers, or a batch can't be shared evenly.
    """
    require_workers(settings)
    if settings.strategy == "multi_worker":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif settings.strategy == "mirrored":
        # All GPUs; without any, the CPU devices that TensorFlow is set up with.
        gpus = tf.config.list_logical_devices("GPU")
        devices = gpus or tf.config.list_logical_devices("CPU")
        # TensorFlow's default for CPUs fails at the second strategy of a process, as a baseline's training makes one.
        reduce = tf.distribute.NcclAllReduce() if gpus else tf.distribute.ReductionToOneDevice()
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices], reduce)
    else:
        strategy = tf.distribute.get_strategy()
    devices = strategy.num_replicas_in_sync
    if settings.batch_size % devices:
        raise ValueError(f"batch_size {settings.batch_size} is not a multiple of the {devices} devices")
    return strategy


def require_workers(settings: RobustTrainerSettings) -> None:
    """Raises ValueError if the strategy is for several workers and TF_CONFIG doesn't name them."""
    if settings.strategy == "multi_worker" and not os.environ.get("TF_CONFIG"):
        raise ValueError("strategy multi_worker needs TF_CONFIG, which names the workers, in the environment")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes results: the only one, or the first of several workers."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_type or is_first_worker()


def is_first_worker() -> bool:
    """Whether TF_CONFIG says so, by TensorFlow's rule: the chief where there is one, else worker 0; True without it."""
    tf_config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    task = tf_config.get("task", {})
    if "chief" in tf_config.get("cluster", {}):
        return task.get("type") == "chief"
    return int(task.get("index", 0)) == 0


def checkpoint_writers_dir(strategy: tf.distribute.Strategy, checkpoints_dir: str) -> str:
    """Where this process writes its checkpoints.

    Every worker has to take part when one is written, but all of them read the chief's. The others' are among the
    temporary files of their process, see `job`.
    """
    return checkpoints_dir if is_chief(strategy) else tempfile.mkdtemp(prefix="checkpoints-")
