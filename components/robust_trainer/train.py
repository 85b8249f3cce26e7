"""Trains a classifier and keeps the epoch that scores best on validation."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from model_patching.components.evaluator.group_metrics import GroupMetrics
from model_patching.components.precision import building_with, dtype_policy
from model_patching.components.progress import progress_bar
from model_patching.components.robust_trainer.batches import group_balanced, proportional, require_every_group
from model_patching.components.robust_trainer.export import export_classifier
from model_patching.components.robust_trainer.objective import Objective
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.small_cnn import small_cnn
from model_patching.components.robust_trainer.validation import Scorer
from model_patching.components.tracking import Tracker
from model_patching.components.versions import versions
from model_patching.data.arrays import load_arrays
from model_patching.data.dataset import Dataset

LOG_EVERY = 20  # steps between two points of the tracker's curves


def train(
    train_paths: Sequence[str],
    validation_paths: Sequence[str],
    dataset: Dataset,
    settings: RobustTrainerSettings,
    seed: int,
    model_dir: str,
    model_run_dir: str,
    tracker: Tracker,
) -> None:
    """Trains by `settings.method` and exports the best epoch's classifier.

    Args:
        train_paths: gzip TFRecords of the training split; with patched images for CAMEL.
        validation_paths: gzip TFRecords of the validation split.
        dataset: what they hold.
        settings: how to train.
        seed: fixes weights, batches and dropout; on one CPU the result too.
        model_dir: gets the SavedModel, see `export_classifier`.
        model_run_dir: gets `training.json`: settings, versions, group counts, and the scores of every epoch.
        tracker: gets the curves as they come.

    Raises:
        ValueError: a group without examples in either split, a record that can't be read or has no patched images, or
            a loss that isn't finite.
    """
    train_arrays = load_arrays(train_paths, dataset, patched=settings.method == "camel")
    validation_arrays = load_arrays(validation_paths, dataset)
    require_every_group(train_arrays, dataset, "training")
    require_every_group(validation_arrays, dataset, "validation")
    group_shape = (dataset.num_classes, dataset.num_subgroups)
    train_count = train_arrays.group_count.reshape(group_shape)
    validation_count = validation_arrays.group_count.reshape(group_shape)

    policy = dtype_policy(settings.mixed_precision)
    with building_with(policy):
        model = small_cnn(dataset.image_shape, dataset.num_classes, seed)
    objective = Objective(settings, train_count)
    optimizer = keras.optimizers.SGD(_learning_rate(settings), momentum=0.9)
    optimizer.build(model.trainable_variables)
    if settings.method == "erm":
        draw = proportional(train_arrays, settings.batch_size * dataset.num_groups)
    else:
        draw = group_balanced(train_arrays, dataset, settings.batch_size)
    scorer = Scorer(model, validation_arrays, dataset, train_count)

    @tf.function
    def train_step(step: tf.Tensor) -> dict[str, tf.Tensor]:
        # Every draw depends on the seed and the step alone.
        image, label, patched = draw(tf.stack([tf.constant(seed), step]))
        with tf.GradientTape() as tape:
            logits, patched_logits = predict_together(model, image, patched)
            terms = objective(logits, patched_logits, label, model.trainable_variables)
        gradients = tape.gradient(terms["loss"], model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return terms

    history: list[dict] = []
    best: tuple[float, float] = (-1.0, -1.0)
    best_weights: list[np.ndarray] = []
    selected_epoch = 0
    with progress_bar(f"{settings.method}", settings.epochs * settings.steps_per_epoch) as bar:
        for epoch in range(1, settings.epochs + 1):
            started = time.monotonic()
            losses = []
            for step in range((epoch - 1) * settings.steps_per_epoch, epoch * settings.steps_per_epoch):
                terms = train_step(tf.constant(step))
                losses.append(terms["loss"])
                if step % LOG_EVERY == 0:
                    tracker.log(step, {f"train/{name}": float(value) for name, value in terms.items()})
                bar.advance(1)
            loss = float(tf.reduce_mean(tf.stack(losses)))
            if not math.isfinite(loss):
                raise ValueError(f"the loss is {loss} in epoch {epoch}: try a lower learning_rate")
            scores = scorer.score()
            history.append(_epoch_record(epoch, loss, scores, time.monotonic() - started))
            tracker.log(
                epoch * settings.steps_per_epoch,
                _tracked_scores(scores, dataset, objective, history[-1]["loss"]),
            )
            merit = (scores.worst_group_accuracy, scores.average_accuracy)
            if settings.selection == "average":
                merit = merit[::-1]
            if merit > best:
                best = merit
                best_weights = model.get_weights()
                selected_epoch = epoch
            bar.advance(0, note=f"epoch {epoch}: worst group {scores.worst_group_accuracy:.3f}")

    # Served in float32, whatever it was trained in.
    exported = small_cnn(dataset.image_shape, dataset.num_classes, seed)
    exported.set_weights(best_weights)
    export_classifier(exported, dataset, model_dir)
    selected = history[selected_epoch - 1]["validation"]["worst_group_accuracy"]
    tracker.summary({"selected_epoch": selected_epoch, "validation/worst_group_accuracy": selected})
    record = {
        "method": settings.method,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
        "dtype_policy": policy,
        "versions": versions(),
        "group_counts": {"train": train_count.tolist(), "validation": validation_count.tolist()},
        "history": history,
        "selected_epoch": selected_epoch,
    }
    Path(model_run_dir).mkdir(parents=True, exist_ok=True)
    (Path(model_run_dir) / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def predict_together(
    model: keras.Model, image: tf.Tensor, patched: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Logits of images and of their renditions, in one call of the model.

    Args:
        model: float32 [n, H, W, C] → logits [n, C].
        image: float32 [n, H, W, C].
        patched: float32 [n, K, H, W, C], or None.

    Returns:
        float32 [n, C], and float32 [n, K, C] or None.
    """
    if patched is None:
        return model(image, training=True), None
    count, renditions = patched.shape[:2]
    flat = tf.reshape(patched, [count * renditions, *patched.shape[2:]])
    logits = model(tf.concat([image, flat], axis=0), training=True)
    return logits[:count], tf.reshape(logits[count:], [count, renditions, -1])


def _learning_rate(
    settings: RobustTrainerSettings,
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if settings.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            settings.learning_rate, settings.epochs * settings.steps_per_epoch
        )
    return settings.learning_rate


def _epoch_record(epoch: int, loss: float, scores: GroupMetrics, seconds: float) -> dict:
    return {
        "epoch": epoch,
        "loss": loss,
        "validation": {
            "worst_group_accuracy": scores.worst_group_accuracy,
            "average_accuracy": scores.average_accuracy,
            "group_accuracy": scores.accuracy.tolist(),
        },
        "seconds": seconds,
    }


def _tracked_scores(
    scores: GroupMetrics, dataset: Dataset, objective: Objective, loss: float
) -> dict[str, float]:
    values = {
        "epoch_loss": loss,
        "validation/worst_group_accuracy": scores.worst_group_accuracy,
        "validation/average_accuracy": scores.average_accuracy,
    }
    for name, accuracy in zip(dataset.group_names, scores.accuracy.flat, strict=True):
        values[f"validation/{name}"] = float(accuracy)
    if objective.group_dro is not None:
        for name, weight in zip(dataset.group_names, objective.group_dro.weights().numpy().flat, strict=True):
            values[f"group_weight/{name}"] = float(weight)
    return values
