"""Finds the published folders of each group.

Under a base folder there is one for each data set, group and split, `[waterbirds.0.1.y].[1.*.*].train.0.000`: name and
version of the group's records with `.` for `/`, the split, and the share of the training images that became the
validation split. The name ends with label and subgroup, with `y`, and with the number of images where only the first
ones of the group were patched: `[celeb_a_128.Blond_Hair.Male.1.0.0.0.y.4054].[2.*.*].train.0.000`. In it there are two
folders for each model of translators, `….model[gen_f]` with the images in subgroup 1 and `….model[gen_g]` with those
in subgroup 0.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from model_patching.components.augmenter.layout import Group
from model_patching.components.checkpoint import file_marks, fingerprint
from model_patching.data.dataset import Dataset
from model_patching.data.tensorflow_errors import first_line

SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
IDENTIFIER = re.compile(
    r"\[.+\.(?P<label>\d+)\.(?P<subgroup>\d+)\.y(\.(?P<take>\d+))?\]"  # name
    r"\.\[[^]]*\]"  # version
    r"\.(?P<split>train|val|test)(\.\d+\.\d+)?"
)
SUFFIX = ".tfrec"
INTO_SUBGROUP = (".model[gen_g]", ".model[gen_f]")


class PatchesError(ValueError):
    """The published patched images are missing or don't fit the records. The message is one line."""


@dataclass(frozen=True)
class PatchedGroup:
    """The patched images of one group of one split.

    Attributes:
        folders: entry z has the images in subgroup z.
        take: the group's first records that were patched; None for all.
    """

    folders: tuple[str, str]
    take: int | None


def find_groups(
    folder: str, prefer: Sequence[str], split: str, counts: dict[Group, int], dataset: Dataset
) -> dict[Group, PatchedGroup]:
    """Finds the patched images of the groups of a split; of all records, but for the training split.

    Args:
        folder: the base folder.
        prefer: texts of the paths to take where there are several pairs.
        split: "train", "validation" or "test".
        counts: records of each group that must be there.
        dataset: names the groups.

    Returns:
        Those of each group.

    Raises:
        PatchesError: a group has no pair of folders, or several that can't be told apart; or a text is in no path.
    """
    _check_preferred(folder, [name for name in _folders(folder) if IDENTIFIER.fullmatch(name)], prefer)
    return {
        group: _choose(candidates, group, counts[group], folder, prefer, split, dataset)
        for group, candidates in _pairs_of_groups(folder, split, counts).items()
    }


def incomplete_groups(folder: str, split: str, counts: dict[Group, int]) -> list[Group]:
    """The groups of which no folder can be taken: there is none, or it lacks records that the split can't do without.

    Args:
        folder: the base folder.
        split: "train", "validation" or "test".
        counts: records of each group that must be there.

    Raises:
        PatchesError: there is no such folder, or half a pair.
    """
    return sorted(group for group, found in _pairs_of_groups(folder, split, counts).items() if not found)


def folder_marks(folder: str, *files: str) -> str:
    """Stands for names, bytes and times of change of all published files, and of some others.

    Raises:
        PatchesError: the folder or a file isn't there.
    """
    paths = [
        f"{place.rstrip('/')}/{name}"  # in a bucket places end with a slash
        for place, _, names in tf.io.gfile.walk(folder)
        for name in names
        if name.endswith(SUFFIX)
    ]
    if not paths:
        raise PatchesError(f"{folder}: no {SUFFIX} files in there or below")
    try:
        return fingerprint(files=file_marks([*paths, *files]))
    except tf.errors.NotFoundError as error:
        raise PatchesError(first_line(error)) from None


def in_words(group: Group, split: str, dataset: Dataset) -> str:
    """A group for a message."""
    return f"group '{dataset.group_names[dataset.group_index(*group)]}' of the {split} split"


def _check_preferred(folder: str, names: Sequence[str], prefer: Sequence[str]) -> None:
    """Refuses texts that no path has, misspelt ones perhaps."""
    if not prefer:
        return
    paths = [f"{name}/{below}" for name in names for below in _folders(f"{folder}/{name}")]
    for text in prefer:
        if not any(text in path for path in paths):
            raise PatchesError(f"patching.prefer: '{text}' is in 0 of {len(paths)} paths in {folder}")


def _pairs_of_groups(folder: str, split: str, counts: dict[Group, int]) -> dict[Group, list[PatchedGroup]]:
    """All pairs that may be taken for each group. Only the training split may lose records that weren't patched."""
    found: dict[Group, list[PatchedGroup]] = {group: [] for group in counts}
    for name in _folders(folder):
        identifier = IDENTIFIER.fullmatch(name)
        if identifier is None or SPLIT_NAMES[identifier["split"]] != split:
            continue
        group = int(identifier["label"]), int(identifier["subgroup"])
        take = None if identifier["take"] is None else int(identifier["take"])
        if group in found and (split == "train" or take is None or take >= counts[group]):
            found[group] += [PatchedGroup(pair, take) for pair in _pairs(f"{folder}/{name}")]
    return found


def _choose(
    candidates: Sequence[PatchedGroup],
    group: Group,
    count: int,
    folder: str,
    prefer: Sequence[str],
    split: str,
    dataset: Dataset,
) -> PatchedGroup:
    """The pair whose path has most of the preferred texts."""
    words = in_words(group, split, dataset)
    if not candidates:
        label, subgroup = group
        short = next(short for short, name in SPLIT_NAMES.items() if name == split)
        raise PatchesError(
            f"{folder}: 0 pairs of folders with patched images of {words}, which has {count:,} records: there must be "
            f"[….{label}.{subgroup}.y].[…].{short}… with ….model[gen_f] and ….model[gen_g]"
        )
    scores = [sum(text in candidate.folders[0] for text in prefer) for candidate in candidates]
    best = [candidate for candidate, score in zip(candidates, scores, strict=True) if score == max(scores)]
    if len(best) > 1:
        paths = sorted(
            candidate.folders[0].removeprefix(f"{folder}/").removesuffix(INTO_SUBGROUP[0])
            for candidate in best
        )
        raise PatchesError(
            f"{folder}: {len(best)} pairs of folders with patched images of {words}: {'; '.join(paths)}; give in "
            "patching.prefer texts that only the right one's path has"
        )
    return best[0]


def _pairs(folder: str) -> list[tuple[str, str]]:
    """Folders of the images in either subgroup, of each model."""
    names = _folders(folder)
    models = {
        name.removesuffix(ending) for name in names for ending in INTO_SUBGROUP if name.endswith(ending)
    }
    for model in sorted(models):
        for ending in INTO_SUBGROUP:
            if model + ending not in names:
                raise PatchesError(f"{folder}: 1 of 2 folders of {model}: {model}{ending} is missing")
    return [
        (f"{folder}/{model}{INTO_SUBGROUP[0]}", f"{folder}/{model}{INTO_SUBGROUP[1]}")
        for model in sorted(models)
    ]


def _folders(folder: str) -> list[str]:
    """Names of what lies in a folder, sorted."""
    try:
        # Not by a pattern: the names are full of signs that patterns have a meaning for.
        return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))
    except tf.errors.FailedPreconditionError:  # a file
        return []
    except tf.errors.OpError as error:
        reason = "there is no such folder" if isinstance(error, tf.errors.NotFoundError) else error.message
        raise PatchesError(f"{folder}: {' '.join(reason.split())}") from None
