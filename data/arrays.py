"""Reads a whole split, decoded, into memory or a file: what the training nodes draw their batches from."""

import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from model_patching.data.dataset import IMAGE, LABEL, PATCHED_IMAGES, SUBGROUP, Dataset
from model_patching.data.schema import decode_image, parse, read_records
from model_patching.data.tensorflow_errors import first_line
from model_patching.data.truncation import is_truncated
from model_patching.data.untuned import untuned

BATCH = 512

Decode = Callable[[tf.Tensor], dict[str, tf.Tensor]]


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
    memory_gib: float | None = None,
) -> Arrays:
    """Reads and decodes the records of some gzip TFRecord files.

    Args:
        paths: the files; their order doesn't matter, they are read sorted by name.
        dataset: what the records must be.
        patched: whether to read `patched_images` too; a record without them is then an error.
        take: examples of each group, at most; the others aren't decoded. "smallest_group" takes as many of each group
            as the smallest group of its class has, None takes all.
        seed: draws those that are taken.
        memory_gib: GiB of memory for the images, at most; more of them are kept in a file of the folder for temporary
            files, TMPDIR, which goes when the arrays do or the process ends. None knows no limit.

    Raises:
        ValueError: no file, no record, or a record that isn't what `dataset` says. The message is one line and names
            file and record.
        OSError: there is no room for the file.
    """
    if not paths:
        raise ValueError("there are no record files to read")
    paths = sorted(paths)
    groups = [_load_groups(path, dataset) for path in paths]
    group = np.concatenate(groups)
    if not len(group):
        raise ValueError(f"there are no records in {', '.join(paths)}")
    taken = np.ones(len(group), bool) if take is None else _draw(group, dataset, take, seed)

    # Where each record that is taken goes: by group, and within a group in file order.
    order = np.argsort(group[taken], kind="stable")
    row = np.empty(len(group), np.int64)
    row[np.flatnonzero(taken)[order]] = np.arange(len(order))
    renditions = dataset.num_subgroups if patched else 0
    bytes_per_example = math.prod(dataset.image_shape) * (1 + renditions)
    in_file = memory_gib is not None and len(order) * bytes_per_example > memory_gib * 2**30
    allocate = _in_temporary_file if in_file else np.empty
    image = allocate((len(order), *dataset.image_shape), np.uint8)
    patched_images = allocate((len(order), renditions, *dataset.image_shape), np.uint8) if patched else None
    first = 0
    for path, of_file in zip(paths, groups, strict=True):
        here = slice(first, first + len(of_file))
        for numbers, batch in _read_batches(path, _decoder(dataset, patched), dataset, taken[here]):
            rows = row[here][numbers]
            image[rows] = batch[IMAGE]
            if patched:
                patched_images[rows] = batch[PATCHED_IMAGES]
        first = here.stop
    sorted_groups = group[taken][order]
    return Arrays(
        image=image,
        patched_images=patched_images,
        label=sorted_groups // dataset.num_subgroups,
        subgroup=sorted_groups % dataset.num_subgroups,
        group_count=np.bincount(sorted_groups, minlength=dataset.num_groups).astype(np.int32),
    )


def _in_temporary_file(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array that lies in a file without a name, so that nothing is left of it however the process ends."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the array holds it open
    try:
        # A disk that is full later on would kill the process instead.
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise OSError(
            f"{tempfile.gettempdir()}: no room for {size / 2**30:.1f} GiB of decoded images ({error.strerror}): "
            "set TMPDIR to a larger disk, or raise training.cache_gib where there is memory"
        ) from None
    return np.memmap(file, dtype, "r+", shape=shape)


def _draw(
    group: np.ndarray, dataset: Dataset, take: int | Literal["smallest_group"], seed: int
) -> np.ndarray:
    """Which records are taken; bool [records]."""
    count = np.bincount(group, minlength=dataset.num_groups)
    if take == "smallest_group":
        limit = np.repeat(count.reshape(dataset.num_classes, -1).min(axis=1), dataset.num_subgroups)
    else:
        limit = np.minimum(count, take)
    taken = np.zeros(len(group), bool)
    for index in range(dataset.num_groups):
        generator = np.random.default_rng([seed, index])
        taken[generator.choice(np.flatnonzero(group == index), limit[index], replace=False)] = True
    return taken


def _load_groups(path: str, dataset: Dataset) -> np.ndarray:
    """Group of every record of one file, in file order; images aren't decoded. int32 [records]."""

    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        record = parse(serialized, dataset, patched=False)
        return {LABEL: tf.cast(record[LABEL], tf.int32), SUBGROUP: tf.cast(record[SUBGROUP], tf.int32)}

    groups = [np.zeros(0, np.int32)]
    for numbers, batch in _read_batches(path, decode, dataset):
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
        groups.append(batch[LABEL] * dataset.num_subgroups + batch[SUBGROUP])
    group = np.concatenate(groups)
    if is_truncated(path):
        raise ValueError(f"{path}: record {len(group)}: the file is cut off here")
    return group


def _decoder(dataset: Dataset, patched: bool) -> Decode:
    """Decodes a record's image and, with `patched`, its renditions."""

    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        record = parse(serialized, dataset, patched)
        decoded = {IMAGE: decode_image(record[IMAGE], dataset)}
        if patched:
            renditions = tf.unstack(record[PATCHED_IMAGES], dataset.num_subgroups)
            decoded[PATCHED_IMAGES] = tf.stack([decode_image(image, dataset) for image in renditions])
        return decoded

    return decode


def _read_batches(
    path: str, decode: Decode, dataset: Dataset, wanted: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Decodes the records of one file, or the wanted ones: their numbers in the file and their features, in batches."""
    numbered = read_records([path]).enumerate()
    if wanted is not None:
        mask = tf.constant(wanted)
        numbered = numbered.filter(lambda number, _: mask[number])
    decoded = numbered.map(
        lambda number, serialized: (number, decode(serialized)),
        num_parallel_calls=os.cpu_count(),
        deterministic=True,
    )
    try:
        yield from untuned(decoded.batch(BATCH)).as_numpy_iterator()
    except tf.errors.OpError as error:
        # A batch fails as a whole: its own records tell which one it was.
        raise ValueError(_first_bad_record(path, decode) or f"{path}: {first_line(error)}") from error


def _first_bad_record(path: str, decode: Decode) -> str | None:
    """One line that names the first record of a file which can't be read or decoded, and why."""
    records = iter(read_records([path]))
    for index in itertools.count():
        try:
            decode(next(records))
        except StopIteration:
            return None
        except tf.errors.OpError as error:
            return f"{path}: record {index}: {first_line(error)}"
