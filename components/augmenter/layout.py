"""Which records share a batch, and which an output file.

Translators may normalize over their batch, so which images share one decides what comes out. It follows from the ids of
a split's records alone, never from workers, bundles or the order of records in files:

1. The records of a group are sorted by a hash of their ids and cut into batches of equal size, as few as `batch_size`
   allows. No batch is a small remainder, over which normalizing would give something else than it gave in training.
2. Batches that follow each other share an output file, which so has records of one group only. One worker makes it, and
   holds its records in memory.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

Group = tuple[int, int]  # label, subgroup


@dataclass(frozen=True)
class OutputFile:
    """What goes into one output file.

    Attributes:
        group: label and subgroup of all its records.
        count: its records.
        batch_starts: hash of the first record of each of its batches; ascending.
    """

    group: Group
    count: int
    batch_starts: tuple[int, ...]


class Layout:
    """The output files of a split; a file's number is its place in `files`."""

    def __init__(self, hashes: dict[Group, np.ndarray], batch_size: int, records_per_file: int):
        """Cuts every group into batches and files.

        Args:
            hashes: `id_hash` of each record of a group, uint64 [n] in any order.
            batch_size: records of a batch, at most.
            records_per_file: records of a file, at most, unless a batch alone has more.
        """
        self.files: list[OutputFile] = []
        self._first_file: dict[Group, int] = {}
        self._file_starts: dict[Group, list[int]] = {}
        batches_per_file = max(1, records_per_file // batch_size)
        for group, group_hashes in sorted(hashes.items()):
            ordered = np.sort(group_hashes)
            batches = np.array_split(ordered, -(-len(ordered) // batch_size))
            starts = np.array([batch[0] for batch in batches])
            starts_of_files = np.array_split(starts, -(-len(batches) // batches_per_file))
            first_of_files = np.array([part[0] for part in starts_of_files])
            counts = np.diff(np.searchsorted(ordered, first_of_files), append=len(ordered))
            self._first_file[group] = len(self.files)
            self._file_starts[group] = first_of_files.tolist()
            for part, count in zip(starts_of_files, counts.tolist(), strict=True):
                self.files.append(OutputFile(group, count, tuple(part.tolist())))

    def file_number(self, group: Group, record_hash: int) -> int:
        """Number of the file of a record."""
        return self._first_file[group] + bisect_right(self._file_starts[group], record_hash) - 1
