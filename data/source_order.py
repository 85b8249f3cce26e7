"""Where each record of a source's files stands among the records of its group.

Published patched images have no ids: the n-th of a group belongs to the group's n-th record, counted in the order in
which the research code read its files. It read several at once, as `tf.data.TFRecordDataset(num_parallel_reads=N)`
does: a record of each in turn, and the next file in the place of one that has ended. So the build keeps the group of
every record in file order, whether or not the record is taken, and from that the order follows for any N.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from model_patching.data.dataset import SPLITS

SOURCE_ORDER = "source_order.npz"  # beside the manifest
NO_GROUP = -1

Place = tuple[str, int]  # a part, and a record's number in it


class SourceOrderError(ValueError):
    """The order of the source's records isn't known. The message is one line and names the file."""


def record_id(part: str, number: int) -> str:
    """Example id of a record by its file and its place in it: "train/00.tfrec", 12 -> "train/00-000012"."""
    return f"{_stem(part)}-{number:06d}"


def group_code(split: str, group: int, num_groups: int) -> int:
    """Number of a group of a split, as it stands in the file."""
    return SPLITS.index(split) * num_groups + group


def write_source_order(folder: Path, groups: Mapping[str, np.ndarray]) -> None:
    """Writes `source_order.npz`; equal groups give an equal file.

    Args:
        folder: that of the manifest.
        groups: for each part, a file relative to the source's folder, `group_code` of its records in their order, or
            `NO_GROUP` where a record's group can't be told.
    """
    arrays = {f"part_{index:05d}": np.asarray(codes, np.int16) for index, codes in enumerate(groups.values())}
    np.savez_compressed(folder / SOURCE_ORDER, parts=np.array(list(groups), np.str_), **arrays)


@dataclass(frozen=True)
class SourceOrder:
    """The records of a source's files.

    Attributes:
        codes: for each part `group_code` of its records in their order, int16 [n].
    """

    codes: dict[str, np.ndarray]

    @property
    def most_files(self) -> int:
        """Files of the folder that has the most: reading more at once makes no difference."""
        return max(len(parts) for parts in self._folders())

    def count(self, code: int) -> int:
        """Records of a group of a split."""
        return sum(int((codes == code).sum()) for codes in self.codes.values())

    def place(self, example_id: str) -> Place | None:
        """Where a record of this id lies; None if it is no record of these files."""
        stem, _, digits = example_id.rpartition("-")
        part = self._parts_by_stem.get(stem)
        if part is None or not digits.isdecimal() or int(digits) >= len(self.codes[part]):
            return None
        return part, int(digits)

    def ranks(self, files_at_once: int) -> dict[str, np.ndarray]:
        """Place of each record among those of its group and split, from 0, by part; int64 [n].

        Files of one folder are read together, sorted by name, as the research code read them.
        """
        seen: dict[int, int] = {}  # records of a group in the folders before
        ranks = {}
        for parts in self._folders():
            places = reading_order([len(self.codes[part]) for part in parts], files_at_once)
            order = np.argsort(np.concatenate(places))
            codes = np.concatenate([self.codes[part] for part in parts])[order]
            in_order = np.empty(len(codes), np.int64)
            for code in np.unique(codes).tolist():
                of_group = np.flatnonzero(codes == code)
                first = seen.get(code, 0)
                in_order[of_group] = np.arange(first, first + len(of_group))
                seen[code] = first + len(of_group)
            ranks |= {part: in_order[place] for part, place in zip(parts, places, strict=True)}
        return ranks

    def ids_at(self, ranks: Mapping[str, np.ndarray], code: int, places: Sequence[int]) -> tuple[str, ...]:
        """Ids of the records of a group that stand at some places of it, by `ranks`."""
        found = {}
        for part, of_part in ranks.items():
            wanted = np.flatnonzero((self.codes[part] == code) & np.isin(of_part, places))
            found |= {int(of_part[number]): record_id(part, number) for number in wanted}
        return tuple(found[place] for place in places)

    @cached_property
    def _parts_by_stem(self) -> dict[str, str]:
        return {_stem(part): part for part in self.codes}

    def _folders(self) -> list[list[str]]:
        """The parts, sorted, folder by folder."""
        folders: dict[str, list[str]] = {}
        for part in sorted(self.codes):
            folders.setdefault(part.rpartition("/")[0], []).append(part)
        return list(folders.values())


def read_source_order(path: str | Path) -> SourceOrder:
    """Reads what `write_source_order` wrote.

    Raises:
        SourceOrderError: the file is missing or damaged.
    """
    import tensorflow as tf  # here and not above: the configuration reads the name of the file without it

    try:
        with tf.io.gfile.GFile(str(path), "rb") as file, np.load(BytesIO(file.read())) as arrays:
            names = arrays["parts"].tolist()
            return SourceOrder({name: arrays[f"part_{index:05d}"] for index, name in enumerate(names)})
    except tf.errors.NotFoundError:
        raise SourceOrderError(
            f"{path} is missing: the records weren't built from published record files, so their order isn't known"
        ) from None
    except Exception as error:  # of the zip file, of numpy or of the keys, by what is damaged
        raise SourceOrderError(f"{path}: can't be read: {' '.join(str(error).split())}") from None


def reading_order(counts: Sequence[int], files_at_once: int) -> list[np.ndarray]:
    """When each record of some files is read.

    Args:
        counts: records of each file.
        files_at_once: N, at least 1; 1 reads one file after the other.

    Returns:
        For each file the place of its records among all, from 0; int64 [count].
    """
    places = [np.empty(count, np.int64) for count in counts]
    done = [0] * len(counts)
    waiting = iter(range(len(counts)))
    open_files = list(islice(waiting, files_at_once))
    turn = place = 0
    while open_files:
        turn %= len(open_files)
        file = open_files[turn]
        if done[file] < counts[file]:
            places[file][done[file]] = place
            done[file] += 1
            place += 1
            turn += 1
            continue
        # The end of a file is noticed at its turn, which is over with that: the next file begins a round later.
        following = next(waiting, None)
        if following is None:
            del open_files[turn]
        else:
            open_files[turn] = following
            turn += 1
    return places


def _stem(part: str) -> str:
    return str(PurePosixPath(part).with_suffix(""))
