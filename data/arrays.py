"""Reads a whole split into memory, decoded: what the training nodes draw their batches from."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from model_patching.data.dataset import IMAGE, LABEL, PATCHED_IMAGES, SUBGROUP, Dataset
from model_patching.data.schema import decode_image, parse, read_records
from model_patching.data.tensorflow_errors import first_line
from model_patching.data.truncation import is_truncated

BATCH = 512


@dataclass(frozen=True)
class Arrays:
    """A split, sorted by group and in file order within a group.

    Attributes:
        image: uint8 [N, H, W, C].
        patched_images: uint8 [N, K, H, W, C], or None where the records weren't patched.
        label: int32 [N].
        subgroup: int32 [N].
        group_count: int32 [C * K], examples of each group in the order of `Dataset.group_index`.
    """

    image: np.ndarray
    patched_images: np.ndarray | None
    label: np.ndarray
    subgroup: np.ndarray
    group_count: np.ndarray

    @property
    def group_start(self) -> np.ndarray:
        """int32 [C * K]: where each group begins."""
        return np.concatenate([[0], np.cumsum(self.group_count)[:-1]]).astype(np.int32)

    def group_slice(self, group: int) -> slice:
        """The rows of one group."""
        start = int(self.group_start[group])
        return slice(start, start + int(self.group_count[group]))


def load_arrays(
    paths: Sequence[str],
    dataset: Dataset,
    patched: bool = False,
    take: int | Literal["smallest_group"] | None = None,
    seed: int = 0,
) -> Arrays:
    """Reads and decodes the records of some gzip TFRecord files.

    Args:
        paths: the files; their order doesn't matter, they are read sorted by name.
        dataset: what the records must be.
        patched: whether to read `patched_images` too; a record without them is then an error.
        take: examples of each group, at most; the others aren't decoded. "smallest_group" takes as many of each group
            as the smallest group of its class has, None takes all.
        seed: draws those that are taken.

    Raises:
        ValueError: no file, no record, or a record that isn't what `dataset` says. The message is one line and names
            file and record.
    """
    if not paths:
        raise ValueError("there are no record files to read")
    paths = sorted(paths)
    wanted = [None] * len(paths) if take is None else _draw(paths, dataset, take, seed)
    features = [
        _load_file(path, dataset, patched, numbers) for path, numbers in zip(paths, wanted, strict=True)
    ]
    merged = {key: np.concatenate([part[key] for part in features]) for key in features[0]}
    if not len(merged[LABEL]):
        raise ValueError(f"there are no records in {', '.join(paths)}")
    group = merged[LABEL] * dataset.num_subgroups + merged[SUBGROUP]
    order = np.argsort(group, kind="stable")
    return Arrays(
        image=merged[IMAGE][order],
        patched_images=merged[PATCHED_IMAGES][order] if patched else None,
        label=merged[LABEL][order],
        subgroup=merged[SUBGROUP][order],
        group_count=np.bincount(group, minlength=dataset.num_groups).astype(np.int32),
    )


def _draw(
    paths: Sequence[str], dataset: Dataset, take: int | Literal["smallest_group"], seed: int
) -> list[np.ndarray]:
    """For each file, bool [records of the file]: whether it is among those that are taken."""
    groups = [_load_groups(path, dataset) for path in paths]
    group = np.concatenate(groups)
    count = np.bincount(group, minlength=dataset.num_groups)
    if take == "smallest_group":
        limit = np.repeat(count.reshape(dataset.num_classes, -1).min(axis=1), dataset.num_subgroups)
    else:
        limit = np.minimum(count, take)
    taken = np.zeros(len(group), bool)
    for index in range(dataset.num_groups):
        generator = np.random.default_rng([seed, index])
        taken[generator.choice(np.flatnonzero(group == index), limit[index], replace=False)] = True
    return np.split(taken, np.cumsum([len(part) for part in groups])[:-1])


def _load_groups(path: str, dataset: Dataset) -> np.ndarray:
    """Group of every record of one file, in file order; images aren't decoded. int32 [records]."""

    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        record = parse(serialized, dataset, patched=False)
        return {LABEL: tf.cast(record[LABEL], tf.int32), SUBGROUP: tf.cast(record[SUBGROUP], tf.int32)}

    batches = _read_batches(path, decode, dataset)
    _check_complete(path, sum(len(batch[LABEL]) for batch in batches))
    groups = [batch[LABEL] * dataset.num_subgroups + batch[SUBGROUP] for batch in batches]
    return np.concatenate([np.zeros(0, np.int32), *groups])


def _load_file(
    path: str, dataset: Dataset, patched: bool, wanted: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Records of one file, all or the wanted, in file order: IMAGE, LABEL, SUBGROUP, with `patched` PATCHED_IMAGES."""

    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        record = parse(serialized, dataset, patched)
        decoded = {
            IMAGE: decode_image(record[IMAGE], dataset),
            LABEL: tf.cast(record[LABEL], tf.int32),
            SUBGROUP: tf.cast(record[SUBGROUP], tf.int32),
        }
        if patched:
            renditions = tf.unstack(record[PATCHED_IMAGES], dataset.num_subgroups)
            decoded[PATCHED_IMAGES] = tf.stack([decode_image(image, dataset) for image in renditions])
        return decoded

    batches = _read_batches(path, decode, dataset, wanted)
    if wanted is None:
        _check_complete(path, sum(len(batch[LABEL]) for batch in batches))
    empty = {
        IMAGE: np.zeros((0, *dataset.image_shape), np.uint8),
        LABEL: np.zeros(0, np.int32),
        SUBGROUP: np.zeros(0, np.int32),
    }
    if patched:
        empty[PATCHED_IMAGES] = np.zeros((0, dataset.num_subgroups, *dataset.image_shape), np.uint8)
    return {key: np.concatenate([empty[key], *(batch[key] for batch in batches)]) for key in empty}


def _read_batches(
    path: str,
    decode: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    dataset: Dataset,
    wanted: np.ndarray | None = None,
) -> list[dict[str, np.ndarray]]:
    """Decodes the records of one file, or the wanted of them, batch by batch, and checks labels and subgroups."""
    numbered = read_records([path]).enumerate()
    if wanted is not None:
        mask = tf.constant(wanted)
        numbered = numbered.filter(lambda number, _: mask[number])
    decoded = numbered.map(
        lambda number, serialized: (number, decode(serialized)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    batches: list[dict[str, np.ndarray]] = []
    try:
        for numbers, batch in decoded.batch(BATCH).as_numpy_iterator():
            for key, size, names in (
                (LABEL, dataset.num_classes, "classes"),
                (SUBGROUP, dataset.num_subgroups, "subgroups"),
            ):
                bad = np.flatnonzero((batch[key] < 0) | (batch[key] >= size))
                if bad.size:
                    value = batch[key][bad[0]]
                    raise ValueError(
                        f"{path}: record {numbers[bad[0]]}: {key} {value}, but the data set has {size} {names}"
                    )
            batches.append(batch)
    except tf.errors.OpError as error:
        # A batch fails as a whole: its own records tell which one it was.
        raise ValueError(_first_bad_record(path, decode) or f"{path}: {first_line(error)}") from error
    return batches


def _first_bad_record(path: str, decode: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> str | None:
    """One line that names the first record of a file which can't be read or decoded, and why."""
    records = iter(read_records([path]))
    for index in itertools.count():
        try:
            decode(next(records))
        except StopIteration:
            return None
        except tf.errors.OpError as error:
            return f"{path}: record {index}: {first_line(error)}"


def _check_complete(path: str, count: int) -> None:
    """Raises ValueError for a file that was cut off after `count` records."""
    if is_truncated(path):
        raise ValueError(f"{path}: record {count}: the file is cut off here")
