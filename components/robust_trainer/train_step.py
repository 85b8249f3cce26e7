"""One training step of the classifier, on one device or several."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from model_patching.components.robust_trainer.input_pipeline import Batch
from model_patching.components.robust_trainer.objective import Objective
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.data.schema import to_float


def make_train_step(
    model: keras.Model,
    objective: Objective,
    optimizer: keras.optimizers.Optimizer,
    settings: RobustTrainerSettings,
    strategy: tf.distribute.Strategy,
) -> Callable[[Batch, tf.Tensor], dict[str, tf.Tensor]]:
    """Makes the compiled step.

    Args:
        model: float32 [n, H, W, C] in [-1, 1] → logits [n, C], built in the strategy's scope.
        objective: what is minimized.
        optimizer: built.
        settings: clipping and compilation.
        strategy: the devices.

    Returns:
        From a batch of each device and the number of steps before, int32 [], to the objective's terms, float32 []
        each, of all devices together.
    """
    weights = model.trainable_variables

    @tf.function(jit_compile=settings.jit_compile)
    def on_device(batch: Batch, step: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits, patched_logits = predict_together(model, batch)
            terms = objective(logits, patched_logits, batch.label, weights, step)
        gradients = _together(tape.gradient(terms["loss"], weights), settings.clip_norm)
        optimizer.apply(gradients, weights)
        return terms

    @tf.function
    def train_step(batch: Batch, step: tf.Tensor) -> dict[str, tf.Tensor]:
        terms = strategy.run(on_device, args=(batch, step))
        return {
            name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
            for name, value in terms.items()
        }

    return train_step


def predict_together(model: keras.Model, batch: Batch) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Logits of images and of their renditions, in one call of the model.

    Args:
        model: float32 [n, H, W, C] → logits [n, C].
        batch: n images; their renditions may be none.

    Returns:
        float32 [n, C], and float32 [n, K, C], or None without renditions.
    """
    count, renditions = batch.patched_images.shape[:2]
    if not renditions:
        return model(to_float(batch.image), training=True), None
    flat = tf.reshape(batch.patched_images, [count * renditions, *batch.image.shape[1:]])
    logits = model(to_float(tf.concat([batch.image, flat], axis=0)), training=True)
    return logits[:count], tf.reshape(logits[count:], [count, renditions, -1])


def _together(gradients: Sequence[tf.Tensor], clip_norm: float | None) -> Sequence[tf.Tensor]:
    """Each device's share of the mean gradients, clipped by their norm; the optimizer adds the shares up."""
    replica = tf.distribute.get_replica_context()
    devices = replica.num_replicas_in_sync
    if clip_norm is not None:
        if devices > 1:
            gradients = replica.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm)
    return gradients if devices == 1 else [gradient / devices for gradient in gradients]
