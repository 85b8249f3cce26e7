"""Trains the translators between all subgroups of a data set, a CycleGAN for each pair of them."""

import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from PIL import Image

from model_patching.components.cyclegan_trainer.batches import BalancedImages
from model_patching.components.cyclegan_trainer.cyclegan import CycleGAN
from model_patching.components.cyclegan_trainer.export import export_translators
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.cyclegan_trainer.sheet import draw_sheet, sheet_images
from model_patching.components.progress import progress_bar
from model_patching.components.tracking import Tracker
from model_patching.components.versions import versions
from model_patching.data.arrays import Arrays, load_arrays
from model_patching.data.dataset import Dataset


def train(
    train_paths: Sequence[str],
    dataset: Dataset,
    settings: CycleGANTrainerSettings,
    seed: int,
    model_dir: str,
    model_run_dir: str,
    tracker: Tracker,
) -> None:
    """Trains on all classes together and writes the translators of every ordered pair of subgroups.

    Args:
        train_paths: gzip TFRecords of the training split.
        dataset: what they hold.
        settings: how to train.
        seed: fixes weights, batches and replay buffers; on one CPU the result too.
        model_dir: gets `translators/<s>_to_<z>/` and `translators.json`.
        model_run_dir: gets `training.json` (curves, settings, versions) and `sheets/*.png`.
        tracker: gets curves and sheets as they come.

    Raises:
        ValueError: a group without training examples, a record that can't be read, or a loss that isn't finite.
    """
    arrays = load_arrays(train_paths, dataset)
    sheets_dir = Path(model_run_dir) / "sheets"
    sheets_dir.mkdir(parents=True, exist_ok=True)

    translators = {}
    history = []
    pairs = list(itertools.combinations(range(dataset.num_subgroups), 2))
    for number, (source, target) in enumerate(pairs):
        cyclegan, curve = train_pair(
            arrays,
            dataset,
            settings,
            seed * len(pairs) + number,
            (source, target),
            sheets_dir,
            tracker,
            number * settings.steps,
        )
        translators[source, target] = cyclegan.forward
        translators[target, source] = cyclegan.backward
        history += curve

    record = {
        "label": None,
        "image_shape": dataset.image_shape,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
        "versions": versions(),
    }
    export_translators(model_dir, translators, record)
    text = json.dumps({"method": "cyclegan", **record, "history": history}, indent=2)
    (Path(model_run_dir) / "training.json").write_text(text + "\n")


def train_pair(
    arrays: Arrays,
    dataset: Dataset,
    settings: CycleGANTrainerSettings,
    seed: int,
    pair: tuple[int, int],
    sheets_dir: Path,
    tracker: Tracker,
    steps_before: int = 0,
) -> tuple[CycleGAN, list[dict]]:
    """Trains the CycleGAN between two subgroups.

    The tracker counts its steps from `steps_before`: a tracker's run can't go back to an earlier step.

    Returns:
        The trained networks, and the losses every `log_every` steps.
    """
    source_name, target_name = (dataset.subgroups[subgroup] for subgroup in pair)
    source_images, target_images = (BalancedImages(arrays, dataset, subgroup) for subgroup in pair)
    source_sheet, target_sheet = (sheet_images(arrays, dataset, subgroup) for subgroup in pair)
    cyclegan = CycleGAN(dataset.image_shape, settings, seed)

    @tf.function
    def train_step(step: tf.Tensor) -> dict[str, tf.Tensor]:
        # Every draw depends on the seed and the step alone.
        step_seed = tf.stack([tf.constant(seed), step * 6])
        return cyclegan.train_step(
            source_images.draw(settings.batch_size, step_seed),
            target_images.draw(settings.batch_size, step_seed + 1),
            step_seed + 2,
        )

    curve = []
    started = time.monotonic()
    with progress_bar(f"CycleGAN {source_name} ↔ {target_name}", settings.steps) as bar:
        for step in range(1, settings.steps + 1):
            losses = train_step(tf.constant(step))
            if step % settings.log_every == 0 or step == settings.steps:
                values = {name: float(value) for name, value in losses.items()}
                _check_finite(values, step)
                curve.append(
                    {"pair": list(pair), "step": step, "seconds": time.monotonic() - started, **values}
                )
                tracker.log(
                    steps_before + step,
                    {f"{source_name}-{target_name}/{name}": value for name, value in values.items()},
                )
                bar.advance(0, note=f"cycle {values['cycle']:.3f}")
            if step % settings.sheet_every == 0 or step == settings.steps:
                sheet = draw_sheet(cyclegan, source_sheet, target_sheet)
                Image.fromarray(sheet.squeeze()).save(sheets_dir / f"{pair[0]}-{pair[1]}-step{step:06d}.png")
                tracker.image(steps_before + step, f"{source_name}-{target_name}/sheet", sheet)
            bar.advance(1)
    return cyclegan, curve


def _check_finite(losses: dict[str, float], step: int) -> None:
    """Raises ValueError when a loss is NaN or infinite."""
    for name, value in losses.items():
        if not tf.math.is_finite(value):
            raise ValueError(f"the {name} loss is {value} at step {step}: try lower learning rates")
