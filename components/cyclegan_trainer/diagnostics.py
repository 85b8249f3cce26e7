"""Measures translators on held-out real images, with probes of the class and of the subgroup as the judges.

A translator can fail silently: it may leave the source subgroup's mark in, or turn one class into the other. For each
direction s → t and each class it is measured how many renditions land in the target subgroup (flip rate), how many keep
their class, how far an image comes back from where it set out (cycle error), and how far an image moves that is in the
target subgroup already (identity error).

A probe calls the least trace of a subgroup by its name. So it is measured too how far the renditions of a group, all
together, still are from real images of the target subgroup (distance left): a faint mark, half of one, or one that is
always at the same place leaves them apart.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from model_patching.components.cyclegan_trainer.kernel_distance import kernel_distance
from model_patching.components.cyclegan_trainer.probes import Probes
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import to_float, to_uint8

Translator = Callable[[tf.Tensor], tf.Tensor]
"""float32 [n, H, W, C] in [-1, 1] → the renditions, likewise."""


def diagnose(
    translators: Mapping[tuple[int, int], Translator],
    probes: Probes,
    arrays: Arrays,
    dataset: Dataset,
    labels: Sequence[int],
    batch_size: int,
    limit: int,
) -> list[dict]:
    """Measures every direction and class.

    Images go through a translator as in the Augmenter: in batches of one group, as few as `batch_size` allows and equal
    in size but for one image. (A group with fewer images than a batch makes a smaller one.) Renditions are rounded to
    the 256 grey levels, as the patches are, before they are judged or translated back.

    Args:
        translators: by (source subgroup, target subgroup); with each its opposite.
        probes: trained; they judge.
        arrays: images that neither translators nor probes were trained on; they may lack a group.
        dataset: its groups.
        labels: classes to translate.
        batch_size: images that go through a translator together, at most; the Augmenter's.
        limit: the first images of each group, at most.

    Returns:
        For each direction, in the order of `translators`, and each class:

        - label, class: number and name of the class;
        - source, target: names of the subgroups; pair: [source, target], their numbers;
        - count: images that were translated;
        - class_count: of these the images whose class the probe gets right;
        - flip_rate: share of the renditions that the probe places in the target subgroup;
        - class_kept: of the `class_count` images the share whose rendition the probe still gives that class;
        - passed: of the same images the share whose rendition keeps its class and is in the target subgroup;
        - distance_left: the share of the source subgroup's squared distance from the target subgroup, both of this
          class, that the renditions still have: 0 for renditions like real images (or a little below by chance), 1 for
          images left as they are, more for worse. See `distance_left`;
        - score: how good the renditions are, from 1 down to 0: passed · (1 - distance_left), the distance taken as at
          least 0 and at most 1, and as 0 where it couldn't be measured;
        - cycle_error: mean |G(F(x)) - x|, where G is the opposite translator, on the scale of -1 to 1;
        - identity_error: mean |F(y) - y| on the same scale, over real images y of the target subgroup.

        Each measure is a float, or None where there was no image to measure it on.
    """

    def images(label: int, subgroup: int) -> np.ndarray:
        return arrays.image[arrays.group_slice(dataset.group_index(label, subgroup))][:limit]

    directions = []
    for (source, target), translator in translators.items():
        for label in labels:
            real = images(label, source)
            rendition = _translate(translator, real, batch_size)
            cycled = _translate(translators[target, source], rendition, batch_size)
            there_already = images(label, target)

            label_before, _ = probes.classify(to_float(real))
            label_after, subgroup_after = probes.classify(to_float(rendition))
            flipped = subgroup_after == target
            kept = (label_after == label)[label_before == label]
            passed = _mean(kept & flipped[label_before == label])
            left = distance_left(
                *(probes.subgroup_features(to_float(group)) for group in (real, rendition, there_already))
            )
            directions.append(
                {
                    "label": label,
                    "class": dataset.classes[label],
                    "source": dataset.subgroups[source],
                    "target": dataset.subgroups[target],
                    "pair": [source, target],
                    "count": len(real),
                    "class_count": len(kept),
                    "flip_rate": _mean(flipped),
                    "class_kept": _mean(kept),
                    "passed": passed,
                    "distance_left": left,
                    "score": None if passed is None else passed * (1 - min(max(left or 0.0, 0.0), 1.0)),
                    "cycle_error": _distance(cycled, real),
                    "identity_error": _distance(
                        _translate(translator, there_already, batch_size), there_already
                    ),
                }
            )
    return directions


def distance_left(source: np.ndarray, renditions: np.ndarray, target: np.ndarray) -> float | None:
    """The share of the squared distance between source and target subgroup that a translator leaves.

    The Kernel Inception Distance of renditions and target over that of source and target. These are squares: where a
    share f of the images is left as it is and the others become like real ones, f² is left.

    Args:
        source: float [n, d], features of real images of the source subgroup.
        renditions: float [n, d], likewise of their renditions.
        target: float [m, d], likewise of real images of the target subgroup.

    Returns:
        About 0 to 1, or more; None where a sample has fewer than two images, or where the probe sees source and target
        no further apart than images of the same subgroup. Where it hardly sees a difference the ratio says little.
    """
    whole, left = kernel_distance(source, target), kernel_distance(renditions, target)
    if whole is None or left is None or whole <= 0:
        return None
    return left / whole


def score(directions: Sequence[dict]) -> float:
    """How good a step's translators are, for choosing among steps: the lowest `score` of the directions and classes.

    What couldn't be measured is left out; minus infinity where nothing could.
    """
    return min(
        (direction["score"] for direction in directions if direction["score"] is not None), default=-np.inf
    )


def _translate(translator: Translator, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Renditions of images of one group, both uint8 [n, H, W, C], made in equal batches."""
    if not len(images):
        return images
    batches = np.array_split(images, -(-len(images) // batch_size))
    return np.concatenate([to_uint8(translator(to_float(batch))).numpy() for batch in batches])


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _distance(images: np.ndarray, others: np.ndarray) -> float | None:
    """Mean absolute difference of uint8 images on the scale of -1 to 1; None without any."""
    if not len(images):
        return None
    return float(np.mean(np.abs(images.astype(np.int16) - others))) / 127.5
