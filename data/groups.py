"""Which group each record of a file belongs to, and which ids come twice; images aren't decoded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from model_patching.data.dataset import EXAMPLE_ID, LABEL, SUBGROUP, Dataset
from model_patching.data.id_hash import id_hash
from model_patching.data.record_batches import read_batches
from model_patching.data.schema import parse
from model_patching.data.truncation import is_truncated


class FileGroups(NamedTuple):
    """The records of one file, in its order.

    Attributes:
        group: int32 [n], numbered as by `Dataset.group_index`.
        id_hash: uint64 [n], of the `example_id`.
    """

    group: np.ndarray
    id_hash: np.ndarray


def read_groups(path: str, dataset: Dataset) -> FileGroups:
    """Reads the group of every record of a gzip TFRecord file.

    Raises:
        ValueError: the file is cut off, or a record can't be read or belongs to no group. One line that names both.
    """

    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        record = parse(serialized, dataset, patched=False)
        return {key: record[key] for key in (LABEL, SUBGROUP, EXAMPLE_ID)}

    groups, hashes = [np.zeros(0, np.int32)], [np.zeros(0, np.uint64)]
    for numbers, batch in read_batches(path, decode):
        for key, size, names in (
            (LABEL, dataset.num_classes, "classes"),
            (SUBGROUP, dataset.num_subgroups, "subgroups"),
        ):
            bad = np.flatnonzero((batch[key] < 0) | (batch[key] >= size))
            if bad.size:
                example_id = batch[EXAMPLE_ID][bad[0]].decode(errors="replace")
                raise ValueError(
                    f"{path}: record {numbers[bad[0]]}, '{example_id}': {key} {batch[key][bad[0]]}, "
                    f"but the data set has {size} {names}"
                )
        groups.append((batch[LABEL] * dataset.num_subgroups + batch[SUBGROUP]).astype(np.int32))
        hashes.append(_hashes(path, numbers, batch[EXAMPLE_ID]))
    group = np.concatenate(groups)
    if is_truncated(path):
        raise ValueError(f"{path}: record {len(group)}: the file is cut off here")
    return FileGroups(group, np.concatenate(hashes))


def first_double(paths: Sequence[str], dataset: Dataset, hashes: np.ndarray) -> tuple[str, str, str] | None:
    """The first id that two records share, with "FILE, record 3" of each; None where there is none.

    Args:
        paths: gzip TFRecord files.
        dataset: what they hold.
        hashes: uint64 [n]: only ids with one of these hashes count.

    Raises:
        ValueError: see `read_groups`.
    """

    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return {EXAMPLE_ID: parse(serialized, dataset, patched=False)[EXAMPLE_ID]}

    first_place: dict[bytes, str] = {}
    for path in paths:
        for numbers, batch in read_batches(path, decode):
            ids = batch[EXAMPLE_ID]
            for row in np.flatnonzero(np.isin(_hashes(path, numbers, ids), hashes)):
                place = f"{path}, record {numbers[row]}"
                first = first_place.setdefault(ids[row], place)
                if first != place:
                    return ids[row].decode(), first, place
    return None


def _hashes(path: str, numbers: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Hash of each id of a batch of records, uint64 [n]."""
    try:
        return np.array([id_hash(example_id.decode()) for example_id in ids], np.uint64)
    except UnicodeDecodeError as error:
        number = numbers[list(ids).index(error.object)]
        raise ValueError(
            f"{path}: record {number}: {EXAMPLE_ID} {error.object!r} is not UTF-8 text"
        ) from None
