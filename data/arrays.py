"""Reads a whole split, decoded, into memory or a file: what the training nodes draw their batches from."""

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from model_patching.data.dataset import IMAGE, PATCHED_IMAGES, Dataset
from model_patching.data.groups import read_groups
from model_patching.data.record_batches import Decode, read_batches
from model_patching.data.schema import decode_image, parse


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
    groups = [read_groups(path, dataset).group for path in paths]
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
        for numbers, batch in read_batches(path, _decoder(dataset, patched), taken[here]):
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
