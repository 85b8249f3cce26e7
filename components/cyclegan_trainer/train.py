"""Trains the translators of one model, a CycleGAN for each pair of subgroups, and keeps a good step of each."""

import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model_patching.components.checkpoint import Checkpoints
from model_patching.components.cyclegan_trainer.batches import BalancedImages, require_groups
from model_patching.components.cyclegan_trainer.cyclegan import CycleGAN
from model_patching.components.cyclegan_trainer.diagnostics import diagnose, score
from model_patching.components.cyclegan_trainer.export import export_translators
from model_patching.components.cyclegan_trainer.image_augmentation import augment
from model_patching.components.cyclegan_trainer.probes import Probes, probe_accuracy, train_probes
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.cyclegan_trainer.sheet import MOST_COLUMNS, draw_sheet, sheet_images
from model_patching.components.cyclegan_trainer.translate import translate
from model_patching.components.progress import progress_bar
from model_patching.components.tracking import Tracker
from model_patching.components.versions import versions
from model_patching.data.arrays import Arrays, load_arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import encode_png

WORST = {
    "flip_rate": min,
    "class_kept": min,
    "passed": min,
    "distance_left": max,
    "score": min,
    "cycle_error": max,
    "identity_error": max,
}


def train(
    train_paths: Sequence[str],
    validation_paths: Sequence[str],
    dataset: Dataset,
    settings: CycleGANTrainerSettings,
    label: int | None,
    seed: int,
    translate_batch_size: int,
    checkpoints_dir: str,
    model_dir: str,
    model_run_dir: str,
    tracker: Tracker,
) -> dict[str, Any]:
    """Trains, diagnoses and writes the translators of every ordered pair of subgroups.

    A training that was killed goes on from its last checkpoint and ends with the same weights as one that never was.

    Args:
        train_paths: gzip TFRecords of the training split.
        validation_paths: gzip TFRecords of the validation split, for the diagnoses and the sheets.
        dataset: what they hold.
        settings: how to train.
        label: the class to train on; None for all together.
        seed: fixes weights, batches and replay buffers; on one CPU the result too.
        translate_batch_size: images that the trained translators render together, at most: here for the diagnoses and
            sheets, and in the Augmenter where the result depends on it.
        checkpoints_dir: where checkpoints are kept while training. Whoever names it sees to it that it belongs to
            these arguments alone. It is left for the caller to remove.
        model_dir: gets `translators/<s>_to_<z>/` and `translators.json`.
        model_run_dir: gets `training.json` (curves, diagnoses, settings, versions) and `sheets/*.png`.
        tracker: gets curves and sheets as they come.

    Returns:
        What `training.json` holds.

    Raises:
        ValueError: a group without examples, a record that can't be read, or a loss that isn't finite.
    """
    labels = range(dataset.num_classes) if label is None else [label]
    arrays = load_arrays(train_paths, dataset, take=settings.take, seed=seed)
    validation = load_arrays(validation_paths, dataset, take=settings.diagnose_images, seed=seed)
    require_groups(arrays, dataset, labels, "training")
    require_groups(validation, dataset, labels, "validation")
    settings = _with_steps(settings, arrays, dataset, labels)
    probes, accuracy = ready_probes(
        train_paths, validation, dataset, settings, seed, f"{checkpoints_dir}/probes"
    )

    translators: dict[tuple[int, int], keras.Model] = {}
    record: dict[str, Any] = {
        "method": "cyclegan",
        "label": label,
        "image_shape": dataset.image_shape,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
        "versions": versions(),
        "probes": accuracy,
        "history": [],
        "diagnoses": [],
        "selected": [],
    }
    sheets_dir = f"{checkpoints_dir}/sheets"
    tf.io.gfile.makedirs(sheets_dir)
    pairs = list(itertools.combinations(range(dataset.num_subgroups), 2))
    for number, (source, target) in enumerate(pairs):
        cyclegan, progress = train_pair(
            arrays,
            validation,
            dataset,
            settings,
            labels,
            seed * len(pairs) + number,
            (source, target),
            probes,
            translate_batch_size,
            checkpoints_dir,
            tracker,
            number * settings.steps,
        )
        translators[source, target] = cyclegan.forward
        translators[target, source] = cyclegan.backward
        record["history"] += progress.history
        record["diagnoses"] += progress.diagnoses
        record["selected"].append(
            {
                "pair": [source, target],
                "step": progress.selected_step,
                "steps_done": progress.step,
                "stopped_early": progress.stopped_early,
            }
        )

    description = {
        "classes": dataset.classes,
        "subgroups": dataset.subgroups,
        "translate_batch_size": translate_batch_size,
        "normalizes_over_batch": settings.normalizes_over_batch,
    }
    description |= {
        key: record[key] for key in ("label", "image_shape", "seed", "settings", "versions", "probes")
    }
    export_translators(model_dir, translators, description | {"diagnostics": selected_directions(record)})
    tf.io.gfile.makedirs(f"{model_run_dir}/sheets")
    for name in tf.io.gfile.listdir(sheets_dir):
        tf.io.gfile.copy(f"{sheets_dir}/{name}", f"{model_run_dir}/sheets/{name}", overwrite=True)
    with tf.io.gfile.GFile(f"{model_run_dir}/training.json", "w") as file:
        file.write(json.dumps(record, indent=2) + "\n")
    return record


def ready_probes(
    train_paths: Sequence[str],
    validation: Arrays,
    dataset: Dataset,
    settings: CycleGANTrainerSettings,
    seed: int,
    folder: str,
) -> tuple[Probes, list[dict]]:
    """The trained probes and their accuracy on `validation`, from their checkpoint where there is one."""
    probes = Probes(dataset.image_shape, dataset, settings.probe, seed)
    checkpoints = Checkpoints(folder, probes.variables)
    state = checkpoints.restore()
    if state is None:
        arrays = load_arrays(train_paths, dataset, take=settings.probe.take, seed=seed)
        train_probes(probes, arrays, dataset, settings.probe, seed)
        state = {"accuracy": probe_accuracy(probes, validation, dataset, settings.diagnose_images)}
        checkpoints.save(settings.probe.steps, state)
    return probes, state["accuracy"]


def selected_directions(record: dict[str, Any]) -> list[dict]:
    """The diagnosis of the step that was kept, of every pair: a dictionary for each direction and class.

    Args:
        record: what `training.json` holds.
    """
    kept = [(selected["pair"], selected["step"]) for selected in record["selected"]]
    found = [entry for entry in record["diagnoses"] if (entry["pair"], entry["step"]) in kept]
    return [direction for entry in found for direction in entry["directions"]]


@dataclass
class Progress:
    """How far the training of a pair is: what a checkpoint remembers beside the variables.

    Attributes:
        step: steps done.
        seconds: spent on them.
        history: losses every `log_every` steps.
        diagnoses: every `diagnose_every` steps: step, score and directions.
        selected_step: the step whose weights are kept.
        best: the best score so far.
        without_better: diagnoses since that one.
        stopped_early: whether they were too many.
    """

    step: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)
    diagnoses: list[dict] = field(default_factory=list)
    selected_step: int = 0
    best: float | None = None
    without_better: int = 0
    stopped_early: bool = False


def train_pair(
    arrays: Arrays,
    validation: Arrays,
    dataset: Dataset,
    settings: CycleGANTrainerSettings,
    labels: Sequence[int],
    seed: int,
    pair: tuple[int, int],
    probes: Probes,
    translate_batch_size: int,
    checkpoints_dir: str,
    tracker: Tracker,
    steps_before: int,
) -> tuple[CycleGAN, Progress]:
    """Trains the CycleGAN between two subgroups, from its last checkpoint on where there is one.

    The tracker counts its steps from `steps_before`: a tracker's run can't go back to an earlier step.

    Returns:
        The networks, the generators with the weights of the selected step; and the course of the training.
    """
    source_name, target_name = (dataset.subgroups[subgroup] for subgroup in pair)
    title = f"{source_name}-{target_name}"
    sheet_batch = translate_batch_size if settings.normalizes_over_batch else MOST_COLUMNS
    source_sheet, target_sheet = (
        sheet_images(validation, dataset, subgroup, labels, sheet_batch) for subgroup in pair
    )
    cyclegan = CycleGAN(dataset.image_shape, settings, seed)
    train_step = _train_step(cyclegan, arrays, dataset, settings, labels, seed, pair)
    kept = [variable for network in (cyclegan.forward, cyclegan.backward) for variable in network.variables]
    selected = [tf.Variable(variable.value, trainable=False) for variable in kept]
    checkpoints = Checkpoints(f"{checkpoints_dir}/{pair[0]}-{pair[1]}", [*cyclegan.variables, *selected])
    progress = Progress(**(checkpoints.restore() or {}))
    _track_again(progress, settings.sheet_every, checkpoints_dir, pair, tracker, title, steps_before)

    with progress_bar(f"CycleGAN {source_name} ↔ {target_name}", settings.steps) as bar:
        bar.advance(progress.step)
        while progress.step < settings.steps and not progress.stopped_early:
            started = time.monotonic()
            step = progress.step + 1
            losses = train_step(tf.constant(step))
            progress.step = step
            is_last = step == settings.steps
            logs, diagnoses, saves = (
                step % every == 0 or is_last
                for every in (settings.log_every, settings.diagnose_every, settings.checkpoint_every)
            )
            if logs or diagnoses or saves:
                values = {name: float(value) for name, value in losses.items()}
                _check_finite(values, step)
            if logs:
                seconds = progress.seconds + time.monotonic() - started
                progress.history.append({"pair": list(pair), "step": step, "seconds": seconds, **values})
                tracker.log(steps_before + step, _named(title, values))
            if diagnoses:
                directions = _diagnose(
                    cyclegan, probes, validation, dataset, translate_batch_size, settings, labels, pair
                )
                reached = score(directions)
                if progress.best is None or reached > progress.best:
                    progress.best, progress.without_better = reached, 0
                else:
                    progress.without_better += 1
                    progress.stopped_early = progress.without_better == settings.patience and not is_last
                if reached >= progress.best - settings.diagnose_tolerance:
                    progress.selected_step = step
                    for copy, variable in zip(selected, kept, strict=True):
                        copy.assign(variable.value)
                finite = reached if math.isfinite(reached) else None
                progress.diagnoses.append(
                    {"pair": list(pair), "step": step, "score": finite, "directions": directions}
                )
                tracker.log(steps_before + step, _named(title, worst(directions)))
                if finite is not None:
                    bar.advance(0, note=f"score of the renditions {finite:.2f}")
            if step % settings.sheet_every == 0 or is_last or progress.stopped_early:
                sheet = draw_sheet(cyclegan.forward, cyclegan.backward, source_sheet, target_sheet)
                _write_sheet(sheet, checkpoints_dir, pair, step)
                tracker.image(steps_before + step, f"{title}/sheet", sheet)
            progress.seconds += time.monotonic() - started
            if saves or progress.stopped_early:
                checkpoints.save(step, asdict(progress))
            bar.advance(1)

    for copy, variable in zip(selected, kept, strict=True):
        variable.assign(copy)
    sheet = draw_sheet(cyclegan.forward, cyclegan.backward, source_sheet, target_sheet)
    _write_sheet(sheet, checkpoints_dir, pair, progress.selected_step)
    tracker.image(steps_before + progress.step, f"{title}/selected sheet", sheet)
    tracker.summary(_named(title, {"selected_step": progress.selected_step}))
    return cyclegan, progress


def _with_steps(
    settings: CycleGANTrainerSettings, arrays: Arrays, dataset: Dataset, labels: Sequence[int]
) -> CycleGANTrainerSettings:
    """The settings with `epochs` turned into `steps`."""
    if settings.epochs is None:
        return settings
    images = max(
        sum(int(arrays.group_count[dataset.group_index(label, subgroup)]) for label in labels)
        for subgroup in range(dataset.num_subgroups)
    )
    steps = settings.epochs * math.ceil(images / settings.batch_size)
    return settings.model_copy(update={"steps": steps, "epochs": None})


def _train_step(
    cyclegan: CycleGAN,
    arrays: Arrays,
    dataset: Dataset,
    settings: CycleGANTrainerSettings,
    labels: Sequence[int],
    seed: int,
    pair: tuple[int, int],
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function of the step's number that draws its batch and trains on it."""
    source_images, target_images = (BalancedImages(arrays, dataset, subgroup, labels) for subgroup in pair)
    # The draws stay outside of what XLA compiles: it can't turn images.
    learn = tf.function(cyclegan.train_step, jit_compile=settings.jit_compile)

    @tf.function
    def train_step(step: tf.Tensor) -> dict[str, tf.Tensor]:
        # Every draw depends on the seed and the step alone, so a resumed training draws as one that never stopped.
        seeds = tf.unstack(tf.random.experimental.stateless_split(tf.stack([tf.constant(seed), step]), 5))
        source = source_images.draw(settings.batch_size, seeds[0])
        target = target_images.draw(settings.batch_size, seeds[1])
        return learn(
            augment(source, settings.augmentation, seeds[2]),
            augment(target, settings.augmentation, seeds[3]),
            seeds[4],
        )

    return train_step


def _diagnose(
    cyclegan: CycleGAN,
    probes: Probes,
    validation: Arrays,
    dataset: Dataset,
    batch_size: int,
    settings: CycleGANTrainerSettings,
    labels: Sequence[int],
    pair: tuple[int, int],
) -> list[dict]:
    translators = {
        pair: partial(translate, cyclegan.forward),
        pair[::-1]: partial(translate, cyclegan.backward),
    }
    return diagnose(translators, probes, validation, dataset, labels, batch_size, settings.diagnose_images)


def worst(directions: Sequence[dict]) -> dict[str, float]:
    """The worst value of each figure over directions and classes; without those that couldn't be measured."""
    figures = {}
    for name, choose in WORST.items():
        values = [direction[name] for direction in directions if direction[name] is not None]
        if values:
            figures[name] = choose(values)
    return figures


def _write_sheet(sheet: np.ndarray, checkpoints_dir: str, pair: tuple[int, int], step: int) -> None:
    """Keeps a sheet beside the checkpoints: TFX removes the outputs of a node that is stopped."""
    with tf.io.gfile.GFile(_sheet_path(checkpoints_dir, pair, step), "wb") as file:
        file.write(encode_png(tf.constant(sheet)).numpy())


def _sheet_path(checkpoints_dir: str, pair: tuple[int, int], step: int) -> str:
    return f"{checkpoints_dir}/sheets/{pair[0]}-{pair[1]}-step{step:06d}.png"


def _named(title: str, values: dict[str, float]) -> dict[str, float]:
    """Values under the pair's name, as the tracker shows them."""
    return {f"{title}/{name}": value for name, value in values.items()}


def _track_again(
    progress: Progress,
    sheet_every: int,
    checkpoints_dir: str,
    pair: tuple[int, int],
    tracker: Tracker,
    title: str,
    steps_before: int,
) -> None:
    """Tells the tracker's new run what the one before it was told, so that its curves and sheets are whole."""
    points = [
        (
            point["step"],
            {name: value for name, value in point.items() if name not in ("pair", "step", "seconds")},
        )
        for point in progress.history
    ]
    points += [(entry["step"], worst(entry["directions"])) for entry in progress.diagnoses]
    calls: list[tuple[int, Callable[[], None]]] = [
        (step, partial(tracker.log, steps_before + step, _named(title, values))) for step, values in points
    ]
    for step in {*range(sheet_every, progress.step + 1, sheet_every), progress.step}:
        path = _sheet_path(checkpoints_dir, pair, step)
        if tf.io.gfile.exists(path):
            calls.append((step, partial(_track_sheet, tracker, steps_before + step, title, path)))
    # A tracker's run can't go back to an earlier step.
    for _, call in sorted(calls, key=lambda one: one[0]):
        call()


def _track_sheet(tracker: Tracker, step: int, title: str, path: str) -> None:
    tracker.image(step, f"{title}/sheet", tf.io.decode_png(tf.io.read_file(path)).numpy())


def _check_finite(losses: dict[str, float], step: int) -> None:
    """Raises ValueError when a loss is NaN or infinite."""
    for name, value in losses.items():
        if not tf.math.is_finite(value):
            raise ValueError(f"the {name} loss is {value} at step {step}: try lower learning rates")
