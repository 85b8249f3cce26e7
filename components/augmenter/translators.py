"""Translators as they lie in Model artifacts: which one renders an image in which subgroup, and doing it.

A model folder holds `translators.json` and one SavedModel for each ordered pair of subgroups,
`translators/<s>_to_<z>/`.
"""

import json
import logging
import os
from collections.abc import Callable, Sequence

import tensorflow as tf
from apache_beam.utils.shared import Shared

from model_patching.components.augmenter.load_translator import TranslatorError, load_translator
from model_patching.components.augmenter.settings import DEFAULT_JPEG_QUALITY, AugmenterSettings
from model_patching.data import schema
from model_patching.data.dataset import Dataset

DESCRIPTION = "translators.json"
PNG_COMPRESSION = 1  # of 0 to 9: half the time of the default, 6, for files that are a tenth larger


def plan_translators(model_dirs: Sequence[str], dataset: Dataset) -> dict[tuple[int, int], tuple[str, ...]]:
    """Finds the translators of each group.

    An image of subgroup s is rendered in subgroup z by the translator s -> z. For z = s, where there is none, it takes
    the translator into s from the other subgroup with the lowest number that has one. With two subgroups, every image
    of a class therefore goes through both translators whatever its own subgroup, as in Goel et al. 2020: the version in
    its own subgroup carries the translator's traces like the other one, and can't be told from it by them.

    Args:
        model_dirs: folders of models. One with `"label": null` serves every class, another only its own.
        dataset: classes, subgroups and image shape.

    Returns:
        For each (label, subgroup) K folders of SavedModels; entry z renders in subgroup z.

    Raises:
        TranslatorError: a description is missing or bad, a class is served by no model or by two, or a pair is missing.
    """
    model_of_label: dict[int, tuple[str, set[tuple[int, int]]]] = {}
    for model_dir in model_dirs:
        label, pairs = _read_description(model_dir, dataset)
        for served in range(dataset.num_classes) if label is None else [label]:
            if served in model_of_label:
                raise TranslatorError(
                    f"class '{dataset.classes[served]}' has two models of translators: {model_of_label[served][0]} and"
                    f" {model_dir}"
                )
            model_of_label[served] = (model_dir, pairs)

    plan = {}
    for label, class_name in enumerate(dataset.classes):
        if label not in model_of_label:
            raise TranslatorError(f"class '{class_name}' has no model of translators")
        model_dir, pairs = model_of_label[label]
        for subgroup in range(dataset.num_subgroups):
            plan[label, subgroup] = tuple(
                f"{model_dir}/translators/{_source(subgroup, z, pairs, dataset, class_name, model_dir)}_to_{z}"
                for z in range(dataset.num_subgroups)
            )
    return plan


def diagnoses(model_dirs: Sequence[str]) -> list[dict]:
    """What the models' training has measured: an entry for each direction and class, see `thresholds.py`.

    Raises:
        TranslatorError: a model has none.
    """
    found = []
    for model_dir in model_dirs:
        path = f"{model_dir}/{DESCRIPTION}"
        with tf.io.gfile.GFile(path) as file:
            directions = json.loads(file.read()).get("diagnostics")
        if not directions:
            raise TranslatorError(
                f"{path}: has no diagnostics to hold against the thresholds of 'translation'"
            )
        found += directions
    return found


class Translators:
    """Loaded translators that turn batches of encoded images of one group into their patched versions."""

    def __init__(
        self, plan: dict[tuple[int, int], tuple[str, ...]], dataset: Dataset, settings: AugmenterSettings
    ):
        """Loads each SavedModel of a plan once.

        Raises:
            TranslatorError: one can't be loaded.
        """
        self._plan = plan
        self._dataset = dataset
        self._settings = settings
        self._models = {
            path: load_translator(path)
            for path in sorted({path for paths in plan.values() for path in paths})
        }
        logging.info("process %d has loaded %d translators", os.getpid(), len(self._models))
        self._patch: dict[tuple[str, ...], Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]] = {}
        for paths in set(plan.values()):
            self._patch[paths] = self._make_patch([self._models[path] for path in paths])

    def patch(self, label: int, subgroup: int, images: Sequence[bytes]) -> list[tuple[bytes, ...]]:
        """Patched versions of the images of one batch of one group.

        Args:
            label: class of all of them.
            subgroup: subgroup of all of them.
            images: n PNG or JPEG files.

        Returns:
            n tuples of K encoded images; entry z is the image in subgroup z.

        Raises:
            tf.errors.InvalidArgumentError: an image can't be decoded or has another shape.
            TranslatorError: a translator gave NaN or infinity, as one does whose training diverged.
        """
        paths = self._plan[label, subgroup]
        patched, finite = self._patch[paths](tf.constant(list(images), tf.string))
        for path, is_finite in zip(paths, finite.numpy(), strict=True):
            if not is_finite:
                raise TranslatorError(f"{path}: its output has NaN or infinity; the training diverged")
        return [tuple(row) for row in patched.numpy().tolist()]

    def _make_patch(
        self, models: Sequence[Callable[[tf.Tensor], tf.Tensor]]
    ) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Graph from images, string [n], to patched ones, string [n, K], and whether all was finite, bool [K]."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def patch(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images = tf.map_fn(
                lambda one: schema.decode_image(one, self._dataset),
                encoded,
                fn_output_signature=tf.TensorSpec(self._dataset.image_shape, tf.uint8),
            )
            images = schema.to_float(images)
            translated = [tf.ensure_shape(model(images), images.shape) for model in models]
            finite = tf.stack([tf.reduce_all(tf.math.is_finite(output)) for output in translated])
            return tf.stack([self._encode(schema.to_uint8(output)) for output in translated], axis=1), finite

        return patch

    def _encode(self, images: tf.Tensor) -> tf.Tensor:
        """uint8 [n, H, W, C] to string [n]."""
        if self._settings.image_format == "png":
            return tf.io.encode_png(images, compression=PNG_COMPRESSION)
        quality = self._settings.jpeg_quality or DEFAULT_JPEG_QUALITY
        return tf.map_fn(
            lambda image: tf.io.encode_jpeg(image, quality=quality),
            images,
            fn_output_signature=tf.TensorSpec([], tf.string),
        )


class SharedTranslators:
    """Translators that each worker process loads once, however many of its threads and splits need them."""

    def __init__(
        self, plan: dict[tuple[int, int], tuple[str, ...]], dataset: Dataset, settings: AugmenterSettings
    ):
        """Loads nothing yet, so that it can be sent to the workers."""
        self._arguments = (plan, dataset, settings)
        self._shared = Shared()

    def load(self) -> Translators:
        """The translators of this process, loaded if it is the first call in it. Raises: see `Translators`."""
        return self._shared.acquire(lambda: Translators(*self._arguments))


def _read_description(model_dir: str, dataset: Dataset) -> tuple[int | None, set[tuple[int, int]]]:
    """Label and ordered pairs of a model, checked against the data set."""
    path = f"{model_dir}/{DESCRIPTION}"
    try:
        with tf.io.gfile.GFile(path) as file:
            description = json.loads(file.read())
    except tf.errors.NotFoundError:
        raise TranslatorError(f"{path} is missing: not a model of the CycleGANTrainer") from None
    except ValueError as error:
        raise TranslatorError(f"{path}: not JSON: {error}") from None
    try:
        label = description["label"]
        pairs = {(int(source), int(target)) for source, target in description["pairs"]}
        shape = tuple(description["image_shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise TranslatorError(f"{path}: needs label, pairs and image_shape: {error!r}") from None
    if label is not None and label not in range(dataset.num_classes):
        raise TranslatorError(f"{path}: label {label} is not a class of the data set")
    if shape != dataset.image_shape:
        raise TranslatorError(
            f"{path}: made for images {list(shape)}, the data set has {list(dataset.image_shape)}"
        )
    return label, pairs


def _source(
    subgroup: int, target: int, pairs: set[tuple[int, int]], dataset: Dataset, class_name: str, model_dir: str
) -> int:
    """Subgroup whose translator into `target` an image of `subgroup` takes, by the rule of `plan_translators`."""
    if subgroup != target:
        candidates = [subgroup]
    else:
        candidates = [other for other in range(dataset.num_subgroups) if other != target]
    for source in candidates:
        if (source, target) in pairs:
            return source
    raise TranslatorError(
        f"class '{class_name}': {model_dir} has no translator into '{dataset.subgroups[target]}' for images of"
        f" '{dataset.subgroups[subgroup]}'"
    )
