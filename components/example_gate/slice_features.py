"""Whether the features that an evaluation slices by are in the records, and fit for it."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from model_patching.data import schema
from model_patching.data.dataset import EXAMPLE_ID, RECORD_FEATURES

MOST_SLICES = 100  # of one entry of evaluation.slices; each has all metrics


def check_slice_features(split: str, paths: Sequence[str], slices: Sequence[Sequence[str]]) -> list[str]:
    """Looks for features in every record of a split.

    A record may be without one: it is then in none of the feature's slices.

    Args:
        split: its name, for messages.
        paths: its gzip TFRecord files.
        slices: names of the features that each slices by, label and subgroup among them or not.

    Returns:
        A line for each feature that no record has, or that isn't one UTF-8 text or one integer wherever it is there;
        and for each entry of `slices` that would give too many slices.
    """
    if not slices:
        return []
    names = dict.fromkeys(name for features in slices for name in features)
    kinds: dict[str, str] = {}
    mistakes: dict[str, str] = {}
    there: set[str] = set()
    values: list[set[tuple]] = [set() for _ in slices]
    for serialized in schema.read_records(sorted(paths)).as_numpy_iterator():
        found = schema.to_example(serialized).features.feature
        there.update(found)
        here = {}
        for name in names.keys() & found.keys() - mistakes.keys():
            kind, value, mistake = _read(found[name])
            if mistake is None and kind is not None and kinds.setdefault(name, kind) != kind:
                mistake = "is a text in some records and an integer in others, such as"
            if mistake is not None:
                mistakes[name] = f"{mistake} '{_example_id(found)}'"
            elif kind is not None:
                here[name] = value
        for features, of_slice in zip(slices, values, strict=True):
            if len(of_slice) <= MOST_SLICES and here.keys() >= set(features):
                of_slice.add(tuple(here[name] for name in features))
    for name in names:
        if name not in there:
            known = ", ".join(f"'{other}'" for other in sorted(there - RECORD_FEATURES))
            others = f"there are {known}" if known else "there is none"
            mistakes[name] = f"isn't in the records; beside label and subgroup {others}"
        elif name not in kinds and name not in mistakes:
            mistakes[name] = "has no value in any record"
    lines = [f"feature '{name}' of the {split} split {mistakes[name]}" for name in names if name in mistakes]
    lines += [
        f"[{', '.join(features)}] would give more than {MOST_SLICES} slices of the {split} split"
        for features, of_slice in zip(slices, values, strict=True)
        if len(of_slice) > MOST_SLICES
    ]
    return [f"evaluation.slices: {line}" for line in lines]


def _read(feature: tf.train.Feature) -> tuple[str | None, bytes | int | None, str | None]:
    """Kind and value of a feature, None where it has no value; and what is wrong with it, before a record's id."""
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    if not values:
        return None, None, None
    if kind == "float_list" or len(values) > 1:
        return kind, None, "isn't one text or integer in record"
    if kind == "bytes_list":
        try:
            values[0].decode()
        except UnicodeDecodeError:
            return kind, None, "isn't UTF-8 text in record"
    return kind, values[0], None


def _example_id(features: Mapping[str, tf.train.Feature]) -> str:
    return b"".join(features[EXAMPLE_ID].bytes_list.value).decode(errors="replace")
