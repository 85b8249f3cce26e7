"""Writes trained translators to where the Augmenter looks for them."""

import json
from pathlib import Path

import keras
import tensorflow as tf


def export_translators(
    output_dir: str | Path, translators: dict[tuple[int, int], keras.Model], description: dict
) -> None:
    """Writes `translators/<s>_to_<z>/` SavedModels and, last, `translators.json`.

    Args:
        output_dir: the Model artifact's folder.
        translators: for (source, target) subgroup the generator, float32 [n, H, W, C] in [-1, 1] → the same.
        description: what else `translators.json` says; the pairs are added.
    """
    output_dir = Path(output_dir)
    for (source, target), model in translators.items():
        _export(model, output_dir / "translators" / f"{source}_to_{target}")
    text = json.dumps({**description, "pairs": [list(pair) for pair in translators]}, indent=2)
    (output_dir / "translators.json").write_text(text + "\n")


def _export(model: keras.Model, folder: Path) -> None:
    """Writes one generator as a SavedModel with the endpoint `serve`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="images")],
    )
    archive.write_out(str(folder), verbose=False)
