"""Writes trained translators to where the Augmenter looks for them."""

import json

import keras
import tensorflow as tf

from model_patching.components.cyclegan_trainer.translate import translate


def export_translators(
    output_dir: str, translators: dict[tuple[int, int], keras.Model], description: dict
) -> None:
    """Writes `translators/<s>_to_<z>/` SavedModels and, last, `translators.json`.

    Args:
        output_dir: the Model artifact's folder.
        translators: for (source, target) subgroup the generator, float32 [n, H, W, C] in [-1, 1] → the same.
        description: what else `translators.json` says; the pairs are added.
    """
    for (source, target), model in translators.items():
        _export(model, f"{output_dir}/translators/{source}_to_{target}")
    text = json.dumps({**description, "pairs": [list(pair) for pair in translators]}, indent=2)
    with tf.io.gfile.GFile(f"{output_dir}/translators.json", "w") as file:
        file.write(text + "\n")


def _export(model: keras.Model, folder: str) -> None:
    """Writes one generator as a SavedModel with the endpoint `serve`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda images: translate(model, images),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="images")],
    )
    archive.write_out(folder, verbose=False)
