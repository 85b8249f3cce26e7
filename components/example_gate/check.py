"""What is wrong with the examples of a split, told before hours go into training on them."""

from collections.abc import Sequence

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2

from model_patching.data.dataset import Dataset
from model_patching.data.groups import first_double, read_groups

DOUBLES = 100  # hashes that are looked up, at most, to name a double id: nearly all are of equal ids


class ExamplesRefused(ValueError):
    """The examples can't be trained on. The message is one line that has every mistake found."""


def check_split(
    split: str, paths: Sequence[str], anomalies: anomalies_pb2.Anomalies, dataset: Dataset, at_least: int
) -> tuple[np.ndarray | None, list[str]]:
    """Looks at everything that can be known of a split before it is trained on.

    It takes 8 bytes of memory for each example.

    Args:
        split: its name, for messages.
        paths: its gzip TFRecord files.
        anomalies: what TensorFlow Data Validation says of it.
        dataset: what the records must be.
        at_least: examples that each group must have.

    Returns:
        Examples of each group, int64 [C, K], or None where they can't be counted; and a line for each mistake.
    """
    mistakes = _in_words(anomalies, split)
    if anomalies.data_missing:
        return None, mistakes
    counts = np.zeros(dataset.num_groups, np.int64)
    hashes = [np.zeros(0, np.uint64)]
    try:
        for path in sorted(paths):
            found = read_groups(path, dataset)
            counts += np.bincount(found.group, minlength=dataset.num_groups)
            hashes.append(found.id_hash)
        mistakes += _double_ids(split, sorted(paths), dataset, np.concatenate(hashes))
    except ValueError as error:
        return None, [*mistakes, str(error)]
    mistakes += _small_groups(split, counts, dataset, at_least)
    return counts.reshape(dataset.num_classes, dataset.num_subgroups), mistakes


def _in_words(anomalies: anomalies_pb2.Anomalies, split: str) -> list[str]:
    """A line for each anomaly."""
    if anomalies.data_missing:
        return [f"the {split} split has no examples"]
    found = [(f"feature '{name}'", info) for name, info in sorted(anomalies.anomaly_info.items())]
    if anomalies.HasField("dataset_anomaly_info"):
        found.append(("the whole", anomalies.dataset_anomaly_info))
    return [
        " ".join(f"{what} of the {split} split: {info.description or info.short_description}".split())
        for what, info in found
    ]


def _double_ids(split: str, paths: Sequence[str], dataset: Dataset, hashes: np.ndarray) -> list[str]:
    """A line if ids come twice: which first, and how many more."""
    hashes.sort()
    twice = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    double = first_double(paths, dataset, twice[:DOUBLES]) if twice.size else None
    if double is None:
        return []
    example_id, first, second = double
    more = f" (one of {twice.size} such ids)" if twice.size > 1 else ""
    return [f"example_id '{example_id}' comes twice in the {split} split, in {first} and {second}{more}"]


def _small_groups(split: str, counts: np.ndarray, dataset: Dataset, at_least: int) -> list[str]:
    """A line for each group that has too few examples."""
    lines = []
    for name, count in zip(dataset.group_names, counts.tolist(), strict=True):
        if count == 0 < at_least:
            lines.append(f"group '{name}' has no example in the {split} split")
        elif count < at_least:
            lines.append(
                f"group '{name}' has {count} of {at_least} examples in the {split} split "
                f"(data.min_examples_per_group.{split})"
            )
    return lines
