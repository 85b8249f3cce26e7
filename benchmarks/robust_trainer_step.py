"""Times the classifier's training step beside its limit and beside an eager loop over the groups, in turn.

    .venv/bin/python benchmarks/robust_trainer_step.py

Each case is one process; all ways have the same network, batch sizes and data. What is printed is explained in
docs/benchmarks.md.
"""

import itertools
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
import typer
from cyclegan_step import time_in_turn, time_of
from rich.console import Console
from rich.table import Table

from model_patching.components.precision import building_with, dtype_policy
from model_patching.components.progress import progress_bar
from model_patching.components.robust_trainer.backbone import build_classifier
from model_patching.components.robust_trainer.batches import group_balanced
from model_patching.components.robust_trainer.consistency import PENALTIES
from model_patching.components.robust_trainer.input_pipeline import Batch, training_batches
from model_patching.components.robust_trainer.objective import Objective, cross_entropy
from model_patching.components.robust_trainer.optimizer import make_optimizer
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.train_step import make_train_step, predict_together
from model_patching.components.robust_trainer.weight_decay import weight_decay
from model_patching.components.tracking import TrackingSettings, open_tracker
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import to_float

SUBGROUPS = ("s0", "s1")
# Image shape, images of each group, and settings.
CASES = {
    "mnist-camel-32": ((28, 28, 1), 1000, {"batch_size": 32, "augmentation_training": "augmented"}),
    "mnist-camel-100": ((28, 28, 1), 1000, {"batch_size": 100}),
    "mnist-group-dro-100": ((28, 28, 1), 1000, {"batch_size": 100, "method": "group_dro"}),
    "resnet50-camel-16": ((128, 128, 3), 64, {"batch_size": 16, "backbone": "ResNet50"}),
}
WAYS = ["as users get it", "fixed batch", "limit", "eager loop", "input alone"]


class Bench:
    """One case: data, network and settings, and the ways to do a step."""

    def __init__(self, name: str, mixed_precision: str):
        """Builds the network and draws random images."""
        self.image_shape, count, changes = CASES[name]
        self.settings = RobustTrainerSettings(**changes)
        self.dataset = Dataset(classes=("c0", "c1"), subgroups=SUBGROUPS, image_shape=self.image_shape)
        groups = self.dataset.num_groups
        random = np.random.default_rng(1)
        pixels = random.integers(0, 256, (3, groups * count, *self.image_shape), np.uint8)
        group = np.repeat(np.arange(groups, dtype=np.int32), count)
        self.arrays = Arrays(
            image=pixels[0],
            patched_images=np.stack(pixels[1:], axis=1) if self.settings.uses_patches else None,
            label=group // len(SUBGROUPS),
            subgroup=group % len(SUBGROUPS),
            group_count=np.full(groups, count, np.int32),
        )
        with building_with(dtype_policy(mixed_precision)):
            self.model = build_classifier(self.settings.backbone, self.image_shape, 2, "none", 1)
        self.objective = Objective(self.settings, self.arrays.group_count.reshape(2, 2))
        self.optimizer = make_optimizer(self.settings)
        self.optimizer.build(self.model.trainable_variables)
        self.train_step = make_train_step(
            self.model, self.objective, self.optimizer, self.settings, tf.distribute.get_strategy()
        )

    @property
    def images(self) -> int:
        """Images that go through the network in a step, renditions included."""
        return self.settings.batch_size * self.dataset.num_groups * (3 if self.settings.uses_patches else 1)

    def batches(self) -> tf.data.Dataset:
        """The trainer's input, without an end."""
        draw = group_balanced(self.arrays, self.dataset, self.settings.batch_size)
        return training_batches(self.arrays, draw, 1, 0, 10**6)

    def as_users_get_it(self, tracker, bar) -> Callable:
        """A step as in `train`: drawn, trained on, its loss kept, now and then logged."""
        batches, steps, losses = iter(self.batches()), itertools.count(), []

        def step():
            number = next(steps)
            terms = self.train_step(next(batches), tf.constant(number))
            losses.append(terms["loss"])
            if number % self.settings.log_every == 0:
                tracker.log(number, {f"train/{name}": float(value) for name, value in terms.items()})
            bar.advance(1)
            return losses[-1]

        return step

    def on(self, batch: Batch) -> Callable:
        """The compiled training step again and again on one batch."""
        return lambda: self.train_step(batch, tf.constant(0))["loss"]

    def limit(self, batch: Batch) -> Callable:
        """Forward and backward through the network on one batch, compiled; no weight changes."""
        weights = self.model.trainable_variables

        @tf.function
        def forward_and_backward(batch):
            with tf.GradientTape() as tape:
                logits, patched_logits = predict_together(self.model, batch)
                terms = self.objective(logits, patched_logits, batch.label, weights, tf.constant(0))
            # What isn't used would not be computed.
            return [tf.reduce_sum(gradient) for gradient in tape.gradient(terms["loss"], weights)]

        return lambda: forward_and_backward(batch)

    def eager_loop(self) -> Callable:
        """The published way: uncompiled, a data set and calls of the network for each group and version of an image."""
        settings, weights = self.settings, self.model.trainable_variables
        optimizer = make_optimizer(settings)
        optimizer.build(weights)

        def endless(group: int):
            here = self.arrays.group_slice(group)
            parts = [self.arrays.image[here], self.arrays.label[here]]
            if settings.uses_patches:
                parts.append(self.arrays.patched_images[here])
            data = tf.data.Dataset.from_tensor_slices(tuple(parts)).shuffle(1000).repeat()
            return iter(data.batch(settings.batch_size).prefetch(2))

        groups = [endless(group) for group in range(self.dataset.num_groups)]

        def step():
            with tf.GradientTape() as tape:
                group_losses, penalties = [], []
                for batches in groups:
                    image, label, *patched = next(batches)
                    log_probabilities = tf.nn.log_softmax(self.model(to_float(image), training=True))
                    versions = [log_probabilities] if settings.augmentation_training != "augmented" else []
                    if patched:
                        calls = [
                            self.model(to_float(patched[0][:, z]), training=True)
                            for z in range(len(SUBGROUPS))
                        ]
                        patched_log_probabilities = tf.nn.log_softmax(tf.stack(calls, axis=1))
                        penalty = PENALTIES[settings.penalty](log_probabilities, patched_log_probabilities)
                        penalties.append(tf.reduce_mean(penalty))
                        if settings.augmentation_training != "original":
                            versions += tf.unstack(patched_log_probabilities, axis=1)
                    losses = [cross_entropy(version, label) for version in versions]
                    group_losses.append(tf.reduce_mean(tf.stack(losses)))
                loss = self.objective.group_dro.loss(tf.stack(group_losses))
                loss += weight_decay(weights, settings.weight_decay)
                if penalties:
                    loss += settings.consistency_weight * tf.add_n(penalties)
            optimizer.apply(tape.gradient(loss, weights), weights)
            return loss

        return step

    def input_alone(self) -> Callable:
        """Draws and gathers a batch."""
        batches = iter(self.batches())
        return lambda: next(batches).image[:1]


def measure(name: str, mixed_precision: str, seconds: float) -> tuple[int, list[float]]:
    """Images a step, and milliseconds of each of `WAYS`."""
    keras.utils.set_random_seed(1)
    bench = Bench(name, mixed_precision)
    batch = next(iter(bench.batches()))
    tracking = TrackingSettings(mode="offline")
    with tempfile.TemporaryDirectory() as folder, progress_bar(name, 10**6) as bar:
        tracker = open_tracker(tracking, name, bench.settings.model_dump(mode="json"), folder)
        runs = [
            bench.as_users_get_it(tracker, bar),
            bench.on(batch),
            bench.limit(batch),
            bench.eager_loop(),
            bench.input_alone(),
        ]
        for run in runs:
            time_of(run)  # traces
        results = time_in_turn(runs, seconds)
        tracker.finish()
    return bench.images, [1000 * float(np.median([times.wall for times in result])) for result in results]


def main(
    cases: Annotated[str, typer.Option(help="Names with commas between.")] = ",".join(CASES),
    seconds: Annotated[float, typer.Option(help="To measure each case, at least.")] = 60.0,
    precisions: Annotated[str, typer.Option(help="Of `mixed_precision`, with commas between.")] = "on,off",
) -> None:
    """Prints the tables of docs/benchmarks.md."""
    console = Console(width=160)
    table = Table("case", "numbers", "images a step", *(f"{way}, ms" for way in WAYS))
    for heading in ("images/s", "of the limit", "x eager loop", "input, images/s"):
        table.add_column(heading)
    for name, mixed_precision in itertools.product(cases.split(","), precisions.split(",")):
        # A process for each case: TensorFlow doesn't give all of the memory of the one before back.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            images, times = process.submit(measure, name, mixed_precision, seconds).result()
        users, _, limit, eager, alone = times
        cells = [name, dtype_policy(mixed_precision), str(images), *(f"{time:,.1f}" for time in times)]
        cells += [f"{1000 * images / users:,.0f}", f"{100 * limit / users:.0f} %", f"{eager / users:.2f}"]
        cells.append(f"{1000 * images / alone:,.0f}")
        table.add_row(*cells)
        console.print(" ".join(cells))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
