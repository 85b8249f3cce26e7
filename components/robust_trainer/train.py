"""Trains a classifier and exports the epoch that scores best on validation."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import tensorflow as tf

from model_patching.components.checkpoint import Checkpoints
from model_patching.components.evaluator.group_metrics import GroupMetrics
from model_patching.components.precision import building_with, dtype_policy
from model_patching.components.progress import progress_bar
from model_patching.components.robust_trainer.backbone import build_classifier
from model_patching.components.robust_trainer.batches import (
    group_balanced,
    proportional,
    require_every_group,
)
from model_patching.components.robust_trainer.dfr import renew_last_layer, require_two_of_every_group
from model_patching.components.robust_trainer.export import export_classifier
from model_patching.components.robust_trainer.input_pipeline import training_batches
from model_patching.components.robust_trainer.keras_application import copy_weights
from model_patching.components.robust_trainer.objective import Objective
from model_patching.components.robust_trainer.optimizer import make_optimizer
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.strategy import (
    checkpoint_writers_dir,
    is_chief,
    make_strategy,
)
from model_patching.components.robust_trainer.train_step import make_train_step
from model_patching.components.robust_trainer.validation import Scorer
from model_patching.components.tracking import Tracker
from model_patching.components.versions import versions
from model_patching.data.arrays import Arrays, load_arrays
from model_patching.data.dataset import Dataset


def train(
    train_paths: Sequence[str],
    validation_paths: Sequence[str],
    dataset: Dataset,
    settings: RobustTrainerSettings,
    seed: int,
    checkpoints_dir: str,
    model_dir: str,
    model_run_dir: str,
    tracker: Tracker,
) -> None:
    """Trains by `settings.method` and exports the selected epoch's classifier.

    A training that was killed goes on after its last whole epoch and ends with the same weights as one that never was.
    Of several workers the chief alone exports.

    Args:
        train_paths: gzip TFRecords of the training split; with patched images where `settings.uses_patches`.
        validation_paths: gzip TFRecords of the validation split.
        dataset: what they hold.
        settings: how to train.
        seed: fixes weights, batches and dropout; on one CPU the result too.
        checkpoints_dir: where checkpoints are kept while training. Whoever names it sees to it that it belongs to
            these arguments alone. It is left for the caller to remove.
        model_dir: gets the SavedModel, see `export_classifier`.
        model_run_dir: gets `training.json`: settings, versions, group counts, and the scores of every epoch.
        tracker: gets the curves as they come.

    Raises:
        ValueError: a group without examples in either split, a record that can't be read or has no patched images,
            weights that can't be had, or a loss that isn't finite.
        OSError: there is no room for the decoded images.
    """
    # Before anything else: several workers wait for each other here.
    strategy = make_strategy(settings)
    train_arrays = load_arrays(
        train_paths, dataset, patched=settings.uses_patches, memory_gib=settings.cache_gib
    )
    validation_arrays = load_arrays(validation_paths, dataset, memory_gib=settings.cache_gib)
    require_every_group(train_arrays, dataset, "training")
    require_every_group(validation_arrays, dataset, "validation")
    if settings.method == "dfr":
        require_two_of_every_group(validation_arrays, dataset)
    group_shape = (dataset.num_classes, dataset.num_subgroups)
    train_count = train_arrays.group_count.reshape(group_shape)

    policy = dtype_policy(settings.mixed_precision)
    with strategy.scope(), building_with(policy):
        model = build_classifier(
            settings.backbone, dataset.image_shape, dataset.num_classes, settings.weights, seed
        )
    progress = _fit(
        model,
        train_arrays,
        validation_arrays,
        dataset,
        settings,
        strategy,
        seed,
        checkpoints_dir,
        tracker,
    )
    if not is_chief(strategy):
        return

    # Served in float32, whatever it was trained in. Some networks have other layers with ImageNet's weights.
    weights = "imagenet" if settings.weights == "imagenet" else "none"
    exported = build_classifier(settings.backbone, dataset.image_shape, dataset.num_classes, weights, seed)
    copy_weights(model, exported)
    record: dict[str, Any] = {
        "method": settings.method,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
        "dtype_policy": policy,
        "devices": strategy.num_replicas_in_sync,
        "versions": versions(),
        "group_counts": {
            "train": train_count.tolist(),
            "validation": validation_arrays.group_count.reshape(group_shape).tolist(),
        },
        "history": progress.history,
        "selected_epoch": progress.selected_epoch,
        "stopped_early": progress.stopped_early,
    }
    if settings.method == "dfr":
        record["dfr"] = renew_last_layer(
            exported, validation_arrays, settings.dfr_sets, settings.dfr_strengths, seed
        )
        best = max(entry["worst_group_accuracy"] for entry in record["dfr"])
        tracker.summary({"dfr/worst_group_accuracy": best})
    export_classifier(exported, dataset, model_dir)
    selected = progress.history[progress.selected_epoch - 1]["validation"]["worst_group_accuracy"]
    tracker.summary({"selected_epoch": progress.selected_epoch, "validation/worst_group_accuracy": selected})
    tf.io.gfile.makedirs(model_run_dir)
    with tf.io.gfile.GFile(f"{model_run_dir}/training.json", "w") as file:
        file.write(json.dumps(record, indent=2) + "\n")


@dataclass
class Progress:
    """How far a training is: what a checkpoint remembers beside the variables.

    Attributes:
        epoch: epochs done.
        history: loss, validation scores and seconds of each.
        selected_epoch: the best one so far; its weights are kept.
        best: the figures by which it is, the first decides.
        without_better: epochs since.
        stopped_early: whether they were too many.
    """

    epoch: int = 0
    history: list[dict] = field(default_factory=list)
    selected_epoch: int = 0
    best: list[float] | None = None
    without_better: int = 0
    stopped_early: bool = False


def _fit(
    model: keras.Model,
    train_arrays: Arrays,
    validation_arrays: Arrays,
    dataset: Dataset,
    settings: RobustTrainerSettings,
    strategy: tf.distribute.Strategy,
    seed: int,
    checkpoints_dir: str,
    tracker: Tracker,
) -> Progress:
    """Trains from the last checkpoint on, where there is one, and leaves the selected epoch's weights in the model."""
    train_count = train_arrays.group_count.reshape(dataset.num_classes, dataset.num_subgroups)
    with strategy.scope():
        objective = Objective(settings, train_count)
        optimizer = make_optimizer(settings)
        optimizer.build(model.trainable_variables)
        # The state of dropout is among the model's variables.
        weights = [variable.value for variable in model.variables]
        selected = [tf.Variable(variable, trainable=False) for variable in weights]
    state = [*weights, *(variable.value for variable in optimizer.variables), *objective.variables, *selected]
    progress = Progress(**(Checkpoints(checkpoints_dir, state).restore() or {}))
    checkpoints = Checkpoints(checkpoint_writers_dir(strategy, checkpoints_dir), state)
    _track_again(progress, tracker, dataset, settings)

    if settings.method in ("erm", "dfr"):
        draw = proportional(train_arrays, settings.batch_size * dataset.num_groups)
    else:
        draw = group_balanced(train_arrays, dataset, settings.batch_size)
    steps = settings.steps_per_epoch
    batches = iter(
        strategy.distribute_datasets_from_function(
            lambda context: training_batches(
                train_arrays, draw, seed, progress.epoch * steps, settings.epochs * steps, context
            )
        )
    )
    train_step = make_train_step(model, objective, optimizer, settings, strategy)
    scorer = Scorer(model, validation_arrays, dataset, train_count, strategy)

    with progress_bar(settings.method, settings.epochs * steps) as bar:
        bar.advance(progress.epoch * steps)
        while progress.epoch < settings.epochs and not progress.stopped_early:
            started = time.monotonic()
            epoch = progress.epoch + 1
            losses = []
            for step in range(progress.epoch * steps, epoch * steps):
                terms = train_step(next(batches), tf.constant(step))
                losses.append(terms["loss"])
                if step % settings.log_every == 0:
                    values = {name: float(value) for name, value in terms.items()}
                    _check_finite(values["loss"], epoch)
                    tracker.log(step, {f"train/{name}": value for name, value in values.items()})
                bar.advance(1)
            loss = float(tf.reduce_mean(tf.stack(losses)))
            _check_finite(loss, epoch)
            scores = scorer.score()

            progress.epoch = epoch
            progress.history.append(_epoch_record(epoch, loss, scores, objective, time.monotonic() - started))
            tracker.log(epoch * steps, _tracked(progress.history[-1], dataset))
            merit = _merit(scores, settings.selection, epoch)
            if progress.best is None or merit > progress.best:
                progress.best, progress.selected_epoch, progress.without_better = merit, epoch, 0
                for copy, variable in zip(selected, weights, strict=True):
                    copy.assign(variable)
            else:
                progress.without_better += 1
                progress.stopped_early = (
                    progress.without_better == settings.patience and epoch < settings.epochs
                )
            checkpoints.save(epoch, asdict(progress))
            bar.advance(0, note=f"epoch {epoch}: worst group {scores.worst_group_accuracy:.3f}")

    for copy, variable in zip(selected, weights, strict=True):
        variable.assign(copy)
    return progress


def _check_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} in epoch {epoch}: try a lower learning_rate or a clip_norm")


def _merit(scores: GroupMetrics, selection: str, epoch: int) -> list[float]:
    """What the epochs are compared by, the greater the better."""
    figures = [scores.worst_group_accuracy, scores.average_accuracy]
    return {"worst_group": figures, "average": figures[::-1], "last": [float(epoch)]}[selection]


def _epoch_record(
    epoch: int, loss: float, scores: GroupMetrics, objective: Objective, seconds: float
) -> dict:
    record = {
        "epoch": epoch,
        "loss": loss,
        "validation": {
            "worst_group_accuracy": scores.worst_group_accuracy,
            "average_accuracy": scores.average_accuracy,
            "group_accuracy": scores.accuracy.tolist(),
        },
        "seconds": seconds,
    }
    if objective.group_dro is not None:
        record["group_weight"] = objective.group_dro.weights().numpy().tolist()
    return record


def _tracked(record: dict, dataset: Dataset) -> dict[str, float]:
    """An epoch's record as the tracker shows it."""
    scores = record["validation"]
    values = {
        "epoch_loss": record["loss"],
        "validation/worst_group_accuracy": scores["worst_group_accuracy"],
        "validation/average_accuracy": scores["average_accuracy"],
    }
    by_group = {"validation": scores["group_accuracy"]}
    if "group_weight" in record:
        by_group["group_weight"] = record["group_weight"]
    for title, table in by_group.items():
        flat = [value for of_class in table for value in of_class]
        values |= {f"{title}/{name}": value for name, value in zip(dataset.group_names, flat, strict=True)}
    return values


def _track_again(
    progress: Progress, tracker: Tracker, dataset: Dataset, settings: RobustTrainerSettings
) -> None:
    """Tells the tracker's new run what the one before it was told of each epoch."""
    for record in progress.history:
        tracker.log(record["epoch"] * settings.steps_per_epoch, _tracked(record, dataset))
