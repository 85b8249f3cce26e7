"""Reads a whole split into memory, decoded: what the training nodes draw their batches from."""

import gzip
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from model_patching.data.dataset import IMAGE, LABEL, PATCHED_IMAGES, SUBGROUP, Dataset
from model_patching.data.schema import decode_image, parse, read_records

BATCH = 512
CHUNK = 2**20  # bytes


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


def load_arrays(paths: Sequence[str], dataset: Dataset, patched: bool = False) -> Arrays:
    """Reads and decodes every record of some gzip TFRecord files.

    Args:
        paths: the files; their order doesn't matter, they are read sorted by name.
        dataset: what the records must be.
        patched: whether to read `patched_images` too; a record without them is then an error.

    Raises:
        ValueError: no file, no record, or a record that isn't what `dataset` says. The message is one line and names
            file and record.
    """
    if not paths:
        raise ValueError("there are no record files to read")
    features = [_load_file(path, dataset, patched) for path in sorted(paths)]
    merged = {key: np.concatenate([part[key] for part in features]) for key in features[0]}
    if not len(merged[LABEL]):
        raise ValueError(f"there are no records in {', '.join(sorted(paths))}")
    group = merged[LABEL] * dataset.num_subgroups + merged[SUBGROUP]
    order = np.argsort(group, kind="stable")
    return Arrays(
        image=merged[IMAGE][order],
        patched_images=merged[PATCHED_IMAGES][order] if patched else None,
        label=merged[LABEL][order],
        subgroup=merged[SUBGROUP][order],
        group_count=np.bincount(group, minlength=dataset.num_groups).astype(np.int32),
    )


def _load_file(path: str, dataset: Dataset, patched: bool) -> dict[str, np.ndarray]:
    """Every record of one file: IMAGE, LABEL, SUBGROUP and with `patched` PATCHED_IMAGES, in file order."""

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

    records = (
        read_records([path]).map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(BATCH)
    )
    batches: list[dict[str, np.ndarray]] = []
    try:
        batches.extend(records.as_numpy_iterator())
    except tf.errors.OpError as error:
        # A batch fails as a whole: its own records tell which one it was.
        raise ValueError(_first_bad_record(path, decode) or f"{path}: {_first_line(error)}") from error
    _check_complete(path, sum(len(batch[LABEL]) for batch in batches))
    for start, batch in enumerate(batches):
        for key, size, names in (
            (LABEL, dataset.num_classes, "classes"),
            (SUBGROUP, dataset.num_subgroups, "subgroups"),
        ):
            bad = np.flatnonzero((batch[key] < 0) | (batch[key] >= size))
            if bad.size:
                record = start * BATCH + int(bad[0])
                value = batch[key][bad[0]]
                raise ValueError(
                    f"{path}: record {record}: {key} {value}, but the data set has {size} {names}"
                )
    empty = {
        IMAGE: np.zeros((0, *dataset.image_shape), np.uint8),
        LABEL: np.zeros(0, np.int32),
        SUBGROUP: np.zeros(0, np.int32),
    }
    if patched:
        empty[PATCHED_IMAGES] = np.zeros((0, dataset.num_subgroups, *dataset.image_shape), np.uint8)
    return {key: np.concatenate([empty[key], *(batch[key] for batch in batches)]) for key in empty}


def _first_bad_record(path: str, decode: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> str | None:
    """One line that names the first record of a file which can't be read or decoded, and why."""
    records = iter(read_records([path]))
    for index in itertools.count():
        try:
            decode(next(records))
        except StopIteration:
            return None
        except tf.errors.OpError as error:
            return f"{path}: record {index}: {_first_line(error)}"


def _check_complete(path: str, count: int) -> None:
    """Raises ValueError for a gzip file that was cut off between two records: TensorFlow takes it for a whole one."""
    with tf.io.gfile.GFile(path, "rb") as file, gzip.GzipFile(fileobj=file) as stream:
        try:
            while stream.read(CHUNK):
                pass
        except (EOFError, gzip.BadGzipFile):
            raise ValueError(f"{path}: record {count}: the file is cut off here") from None


def _first_line(error: tf.errors.OpError) -> str:
    """What went wrong, without the names of the graph's nodes around it."""
    line = re.sub(r"^{{.*?}} ", "", error.message).splitlines()[0]
    return re.sub(r" \[Op:.*", "", line).strip()
