"""The two classifiers that judge translations: one tells the class, the other the subgroup."""

import itertools
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from model_patching.components.cyclegan_trainer.image_augmentation import augment
from model_patching.components.cyclegan_trainer.random_erasing import random_erasing
from model_patching.components.cyclegan_trainer.settings import ImageAugmentation, ProbeSettings
from model_patching.components.progress import progress_bar
from model_patching.components.robust_trainer.batches import group_balanced
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import to_float

SIDE = 28  # pixels: a bigger image is brought below, on its shorter side, before the blocks
BATCH = 250  # images that are classified together
LAYERS_WITH_SEED = 100  # more than a probe has
ERASED = 3  # rectangles of a training image
NOTE_EVERY = 20  # steps between two losses in the progress bar


class Probes:
    """A classifier of the class and one of the subgroup, with no weight in common.

    They say something about a translation only as far as they are right about real images: see `probe_accuracy`.

    Attributes:
        label: float32 [n, H, W, C] in [-1, 1] → float32 logits [n, number of classes].
        subgroup: the same → float32 logits [n, number of subgroups].
    """

    def __init__(
        self, image_shape: tuple[int, int, int], dataset: Dataset, settings: ProbeSettings, seed: int
    ):
        """Builds both untrained; `seed` fixes their weights."""
        self.label = probe(image_shape, dataset.num_classes, settings.filters, 2 * seed, "label_probe")
        self.subgroup = probe(
            image_shape, dataset.num_subgroups, settings.filters, 2 * seed + 1, "subgroup_probe"
        )
        self._subgroup_features = keras.Model(self.subgroup.input, self.subgroup.layers[-2].output)

    @property
    def variables(self) -> list[tf.Variable]:
        """Weights and moving averages, always in the same order."""
        return [variable.value for variable in self.label.variables + self.subgroup.variables]

    def classify(self, images: np.ndarray | tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The most probable class and the most probable subgroup of each image.

        Args:
            images: float32 [n, H, W, C] in [-1, 1].

        Returns:
            Labels and subgroups, int64 [n] each.
        """
        return _most_probable(self.label, images), _most_probable(self.subgroup, images)

    def subgroup_features(self, images: np.ndarray | tf.Tensor) -> np.ndarray:
        """What the probe of the subgroup has found where in each image, before it decides.

        Args:
            images: float32 [n, H, W, C] in [-1, 1].

        Returns:
            float32 [n, d].
        """
        return _in_batches(self._subgroup_features, images)


def probe(
    image_shape: tuple[int, int, int], num_outputs: int, filters: Sequence[int], seed: int, name: str
) -> keras.Model:
    """Builds a small convolutional network for images of any size.

    Convolutions with strides bring bigger images down to 14 ... 27 pixels, so that photographs cost at most about ten
    times as much as digits. Then come blocks of two 3×3 convolutions, of which the second halves the resolution, and a
    dense layer that sees where in the image something is.

    Args:
        image_shape: (H, W, C).
        num_outputs: number of logits.
        filters: channels of each block; the strided convolutions have those of the first.
        seed: fixes the initial weights.
        name: of the model.

    Returns:
        float32 [n, H, W, C] in [-1, 1] → float32 logits [n, num_outputs].
    """
    seeds = itertools.count(seed * LAYERS_WITH_SEED)

    def convolve(x: keras.KerasTensor, channels: int, size: int, stride: int) -> keras.KerasTensor:
        x = layers.Conv2D(
            channels,
            size,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        )(x)
        # Keras's momentum of 0.99 would still remember the first steps of so short a training.
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    image = keras.Input(image_shape)
    x = image
    while min(x.shape[1:3]) >= SIDE:
        stride = 4 if min(x.shape[1:3]) >= 4 * SIDE else 2
        x = convolve(x, filters[0], stride + 2, stride)
    for channels in filters:
        x = convolve(x, channels, 3, 1)
        x = convolve(x, channels, 3, 2)
    x = layers.Flatten()(x)
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    logits = layers.Dense(num_outputs, kernel_initializer=initializer)(x)
    return keras.Model(image, logits, name=name)


def train_probes(
    probes: Probes, arrays: Arrays, dataset: Dataset, settings: ProbeSettings, seed: int
) -> None:
    """Trains both probes on real images, turned and moved a little.

    A batch has as many images of each group, so that the subgroup says nothing about the class, nor the class about the
    subgroup. A rare group's few images come again and again, and the probe of the class would soon know them by heart
    and fail on others of that group; so it sees them partly erased as well.

    Args:
        probes: fresh ones.
        arrays: of the training split; the caller takes no more than `settings.take` of each group.
        dataset: its groups.
        settings: how to train.
        seed: draws images and augmentations; on one CPU it fixes the weights.

    Raises:
        ValueError: a group has no example, or the loss isn't finite.
    """
    draw = group_balanced(arrays, dataset, settings.batch_size)
    images, labels = tf.constant(arrays.image), tf.constant(arrays.label)
    subgroup = tf.repeat(tf.tile(tf.range(dataset.num_subgroups), [dataset.num_classes]), settings.batch_size)
    # No mirror images: a digit, say, would be another.
    moves = max(1, round(min(dataset.image_shape[:2]) / 14))
    augmentation = ImageAugmentation(rotation=15, pad_and_crop=moves)
    weights = probes.label.trainable_variables + probes.subgroup.trainable_variables
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    )
    optimizer.build(weights)

    @tf.function
    def train_step(step: tf.Tensor) -> tf.Tensor:
        # Every draw depends on the seed and the step alone.
        step_seed = tf.stack([tf.constant(seed), 3 * step])
        rows = tf.reshape(draw(step_seed), [-1])
        label = tf.gather(labels, rows)
        image = augment(to_float(tf.gather(images, rows)), augmentation, step_seed + [0, 1])
        erased = random_erasing(image, ERASED, step_seed + [0, 2])
        with tf.GradientTape() as tape:
            loss = _cross_entropy(label, probes.label(erased, training=True))
            loss += _cross_entropy(subgroup, probes.subgroup(image, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    with progress_bar("probes of class and subgroup", settings.steps) as bar:
        for step in range(settings.steps):
            loss = train_step(tf.constant(step))
            if step % NOTE_EVERY == 0 or step == settings.steps - 1:
                value = float(loss)
                if not math.isfinite(value):
                    raise ValueError(
                        f"the probes' loss is {value} at step {step + 1}: try a lower translation.probe.learning_rate"
                    )
                bar.advance(0, note=f"loss {value:.3f}")
            bar.advance(1)


def probe_accuracy(probes: Probes, arrays: Arrays, dataset: Dataset, limit: int) -> list[dict]:
    """How often the probes are right about real images.

    Args:
        probes: trained.
        arrays: images that they weren't trained on.
        dataset: its groups.
        limit: the first images of each group, at most.

    Returns:
        For each group, in the order of `Dataset.group_index`: label and subgroup (their numbers), name, count (images
        that were classified), class_accuracy and subgroup_accuracy (float; None where count is 0).
    """
    groups = []
    for label, subgroup in itertools.product(range(dataset.num_classes), range(dataset.num_subgroups)):
        group = dataset.group_index(label, subgroup)
        images = arrays.image[arrays.group_slice(group)][:limit]
        found_label, found_subgroup = probes.classify(to_float(images))
        groups.append(
            {
                "label": label,
                "subgroup": subgroup,
                "name": dataset.group_names[group],
                "count": len(images),
                "class_accuracy": float(np.mean(found_label == label)) if len(images) else None,
                "subgroup_accuracy": float(np.mean(found_subgroup == subgroup)) if len(images) else None,
            }
        )
    return groups


def _cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _most_probable(network: keras.Model, images: np.ndarray | tf.Tensor) -> np.ndarray:
    """The output with the highest logit for each image; int64 [n]."""
    return np.argmax(_in_batches(network, images), axis=1)


def _in_batches(network: keras.Model, images: np.ndarray | tf.Tensor) -> np.ndarray:
    """The network's output for images, `BATCH` of them at a time; float32 [n, outputs], without images [0, 1]."""
    if not len(images):
        return np.zeros((0, 1), np.float32)
    starts = range(0, len(images), BATCH)
    return np.concatenate(
        [network(images[start : start + BATCH], training=False).numpy() for start in starts]
    )
