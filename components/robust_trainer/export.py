"""Writes the classifier as a SavedModel that serves records and images."""

import keras
import tensorflow as tf

from model_patching.data.dataset import IMAGE, Dataset
from model_patching.data.schema import decode_image, to_float


def export_classifier(model: keras.Model, dataset: Dataset, output_dir: str) -> None:
    """Writes a SavedModel with the endpoints `serving_default` and `serving_image`.

    `serving_default` takes serialized `tf.train.Example`s, string [n], of which it reads `image` alone;
    `serving_image` takes encoded PNG or JPEG images, string [n]. Both return `probabilities`, float32 [n, C].

    Args:
        model: float32 [n, H, W, C] in [-1, 1] → float32 logits [n, C].
        dataset: says the image shape; another one is an error when serving.
        output_dir: where the SavedModel goes.
    """

    def serving_image(images: tf.Tensor) -> dict[str, tf.Tensor]:
        decoded = tf.map_fn(
            lambda image: decode_image(image, dataset),
            images,
            fn_output_signature=tf.TensorSpec(dataset.image_shape, tf.uint8),
        )
        return {"probabilities": tf.nn.softmax(model(to_float(decoded), training=False))}

    def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return serving_image(features[IMAGE])

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        serving_default,
        input_signature=[tf.TensorSpec([None], tf.string, name="examples")],
    )
    archive.add_endpoint(
        "serving_image", serving_image, input_signature=[tf.TensorSpec([None], tf.string, name="images")]
    )
    archive.write_out(output_dir, verbose=False)
