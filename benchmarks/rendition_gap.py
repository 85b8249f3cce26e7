"""Shows how far renditions are from real images: where a classifier errs on either, and how well they are told apart.

    .venv/bin/python benchmarks/rendition_gap.py runs/model_patching/RobustTrainer/model/<number> \
        runs/model_patching/Augmenter/examples/<number> runs/model_patching/ExampleGen/examples/<number>

docs/results.md says what it showed.
"""

from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
import typer
from rich.console import Console
from rich.table import Table

from model_patching.components.robust_trainer.backbone import build_classifier
from model_patching.components.robust_trainer.backbone_names import SMALL_CNN
from model_patching.data.arrays import load_arrays
from model_patching.data.mnist_correlation import MnistCorrelationSettings, dataset
from model_patching.data.schema import to_float

BATCH = 500
MOST = 4000  # images of each kind that are told apart


def main(
    model: Annotated[Path, typer.Argument(help="Of a RobustTrainer.")],
    patched: Annotated[Path, typer.Argument(help="The Augmenter's examples.")],
    source: Annotated[Path, typer.Argument(help="ExampleGen's examples.")],
) -> None:
    """Prints two tables for a classifier of MNIST-Correlation and its translators."""
    digits = dataset(MnistCorrelationSettings())
    train = load_arrays(files(patched, "train"), digits, patched=True)
    test = load_arrays(files(source, "test"), digits)
    classify = tf.saved_model.load(str(model / "Format-Serving")).signatures["serving_image"]
    errors = Table("group", "test", "training", *(f"… as {name}" for name in digits.subgroups))
    apart = Table("renditions", "real images", "told apart")
    for group, name in enumerate(digits.group_names):
        label, subgroup = divmod(group, digits.num_subgroups)
        ours, theirs = train.group_slice(group), test.group_slice(group)
        kinds = [test.image[theirs], train.image[ours], *train.patched_images[ours].swapaxes(0, 1)]
        errors.add_row(name, *(f"{100 * error_rate(classify, images, label):.2f} %" for images in kinds))
        other = train.group_slice(label * digits.num_subgroups + 1 - subgroup)
        renditions = train.patched_images[other, subgroup]
        share = told_apart(renditions[:MOST], test.image[theirs][:MOST])
        apart.add_row(f"{len(renditions):,} as {name}", name, f"{100 * share:.1f} %")
    console = Console()
    console.print("Share of images that the classifier gets wrong", errors)
    console.print("Renditions of the class's other subgroup beside the test images of this one", apart)


def files(examples: Path, split: str) -> list[str]:
    """Record files of a split."""
    return sorted(map(str, examples.glob(f"Split-{split}/*")))


def error_rate(classify: tf.types.experimental.GenericFunction, images: np.ndarray, label: int) -> float:
    """Share of uint8 [n, H, W, C] that isn't classified as `label`."""
    wrong = 0
    for start in range(0, len(images), BATCH):
        encoded = tf.map_fn(
            tf.io.encode_png, images[start : start + BATCH], fn_output_signature=tf.TensorSpec([], tf.string)
        )
        wrong += np.sum(np.argmax(classify(images=encoded)["probabilities"], axis=1) != label)
    return wrong / len(images)


def told_apart(renditions: np.ndarray, real: np.ndarray) -> float:
    """Balanced accuracy of the small CNN, trained on three quarters, on the rest; 50 % where they look the same."""
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    parts = [random.permutation(images) for images in (renditions, real)]
    cuts = [3 * len(part) // 4 for part in parts]
    x = to_float(np.concatenate([part[:cut] for part, cut in zip(parts, cuts, strict=True)]))
    y = np.repeat([0, 1], cuts)
    order = random.permutation(len(y))
    network = build_classifier(SMALL_CNN, real.shape[1:], 2, "none", seed=1)
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    weight = {0: 0.5 / cuts[0] * len(y), 1: 0.5 / cuts[1] * len(y)}
    network.fit(x.numpy()[order], y[order], batch_size=64, epochs=3, class_weight=weight, verbose=0)
    right = []
    for kind, (part, cut) in enumerate(zip(parts, cuts, strict=True)):
        logits = network.predict(to_float(part[cut:]), batch_size=BATCH, verbose=0)
        right.append(np.mean(np.argmax(logits, axis=1) == kind))
    return np.mean(right)


if __name__ == "__main__":
    typer.run(main)
