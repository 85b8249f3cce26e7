"""One pass over the test split: what the model says of every image and of its renditions."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from model_patching.components.evaluator.group_metrics import GroupCounts
from model_patching.components.progress import progress_bar
from model_patching.data import schema
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record, RecordError
from model_patching.data.tensorflow_errors import first_line

IMAGES_AT_ONCE = 128  # that the model sees in one call, renditions included, at most; they decide the memory

Group = tuple[int, int]  # label, subgroup


@dataclass(frozen=True)
class Answer:
    """What the model says of one image.

    Attributes:
        image: PNG or JPEG bytes.
        predicted: the class.
        probability: of that class.
    """

    image: bytes
    predicted: int
    probability: float


@dataclass(frozen=True)
class Mistake:
    """An image that the model got wrong.

    Attributes:
        example_id: of the record.
        answer: the wrong one.
        renditions: entry z is of the image rendered in subgroup z; empty where the record has no renditions.
    """

    example_id: str
    answer: Answer
    renditions: tuple[Answer, ...]


@dataclass(frozen=True)
class Scores:
    """What the pass has found.

    Attributes:
        counts: examples of each group, and how many of them the model got right.
        rendered: int64 [C, K], examples of each group that have renditions.
        changed: int64 [C, K], of these those whose prediction isn't the same for the image and all its renditions.
        mistakes: of each group, the surest first.
    """

    counts: GroupCounts
    rendered: np.ndarray
    changed: np.ndarray
    mistakes: dict[Group, list[Mistake]]


def score(paths: Sequence[str], model_dir: str, dataset: Dataset, most_mistakes: int, total: int) -> Scores:
    """Runs the exported model over the records, in batches; no more than one and the mistakes are in memory.

    Args:
        paths: gzip TFRecord files, read in the order of their names.
        model_dir: SavedModel with the signature `serving_image`, see `robust_trainer/export.py`.
        dataset: of the records.
        most_mistakes: of each group, at most.
        total: records that are expected, for the progress bar.

    Returns:
        The same for the same records, model and machine. Equally sure mistakes are in the order of their ids.

    Raises:
        RecordError: a record isn't one, is of a group that the data set doesn't have, or its image can't be decoded.
    """
    classify = tf.saved_model.load(model_dir).signatures["serving_image"]
    shape = (dataset.num_classes, dataset.num_subgroups)
    correct, count, rendered, changed = (np.zeros(shape, np.int64) for _ in range(4))
    mistakes: dict[Group, list[Mistake]] = {group: [] for group in np.ndindex(shape)}
    with progress_bar("predicting the test split", total) as bar:
        for records in _batches(sorted(paths), dataset):
            for record, (answer, *renditions) in zip(records, _answers(classify, records), strict=True):
                group = record.label, record.subgroup
                count[group] += 1
                correct[group] += answer.predicted == record.label
                rendered[group] += bool(renditions)
                changed[group] += any(one.predicted != answer.predicted for one in renditions)
                if answer.predicted != record.label:
                    mistake = Mistake(record.example_id, answer, tuple(renditions))
                    mistakes[group] = sorted([*mistakes[group], mistake], key=_surest_first)[:most_mistakes]
            bar.advance(len(records))
    return Scores(GroupCounts(correct, count), rendered, changed, mistakes)


def check_counts(found: GroupCounts, evaluated: GroupCounts) -> None:
    """Holds the pass against the evaluation where both have seen as many records of each group.

    The pass asks the model's `serving_image`, the Evaluator its `serving_default`. In batches of other sizes an image
    between two classes can fall to the other one: one in a thousand, or one at all, may.

    Raises:
        ValueError: more records are right in one of the two.
    """
    if (found.count != evaluated.count).any():  # published patches can lack some of the images
        return
    total, differ = evaluated.count.sum(), np.abs(found.correct - evaluated.correct).sum()
    if differ > max(1, total // 1000):
        raise ValueError(
            f"the model's signature serving_image gets {found.correct.sum():,} of {total:,} test images right, but "
            f"serving_default {evaluated.correct.sum():,} ({differ:,} apart, group by group): "
            "export one network with both"
        )


def _surest_first(mistake: Mistake) -> tuple[float, str]:
    return -mistake.answer.probability, mistake.example_id


def _batches(paths: Sequence[str], dataset: Dataset) -> Iterator[list[Record]]:
    records = map(schema.deserialize, schema.read_records(paths).as_numpy_iterator())
    size = max(1, IMAGES_AT_ONCE // (1 + dataset.num_subgroups))
    while batch := list(itertools.islice(records, size)):
        for record in batch:
            _check(record, dataset)
        yield batch


def _check(record: Record, dataset: Dataset) -> None:
    try:
        dataset.group_index(record.label, record.subgroup)
    except ValueError as error:
        raise RecordError(f"record '{record.example_id}': {error}") from None
    found = len(record.patched_images)
    if found not in (0, dataset.num_subgroups):
        raise RecordError(
            f"record '{record.example_id}': {found} patched images, there are {dataset.num_subgroups} subgroups"
        )


def _answers(
    classify: tf.types.experimental.GenericFunction, records: Sequence[Record]
) -> Iterator[list[Answer]]:
    """Of each record the answer to its image, and then those to its renditions."""
    images = [(record.image, *record.patched_images) for record in records]
    try:
        probabilities = classify(images=tf.constant(list(itertools.chain(*images))))["probabilities"].numpy()
    except tf.errors.InvalidArgumentError as error:
        first, last = records[0].example_id, records[-1].example_id
        raise RecordError(f"records '{first}' to '{last}': a bad image: {first_line(error)}") from None
    rows = iter(probabilities)
    for of_record in images:
        yield [
            Answer(image, int(row.argmax()), float(row.max()))
            for image, row in zip(of_record, rows, strict=False)
        ]
