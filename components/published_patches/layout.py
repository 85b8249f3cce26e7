"""Which records go into which output file: those of one group that follow each other in the order of its patches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model_patching.components.augmenter.layout import Group
from model_patching.components.published_patches.shards import PatchedFolder
from model_patching.data.source_order import Place


@dataclass(frozen=True)
class OutputFile:
    """What goes into one output file.

    Attributes:
        group: label and subgroup of all its records.
        first, end: places in the group's folders; the records are those from `first` to before `end`.
        count: its records; fewer than places, where some of the source's records were not taken.
    """

    group: Group
    first: int
    end: int
    count: int


class Layout:
    """The output files of a split; a file's number is its place in `files`.

    Attributes:
        files: not empty, any of them.
        folders: for each group those with its patched images; entry z has the images in subgroup z.
        files_at_once: how many files were read at once when they were made.
    """

    def __init__(
        self,
        places: Mapping[Group, np.ndarray],
        folders: Mapping[Group, tuple[PatchedFolder, PatchedFolder]],
        ranks: Mapping[str, np.ndarray],
        files_at_once: int,
        places_per_file: int,
    ):
        """Cuts every group into files.

        Args:
            places: of the records of each group in its folders, in any order; those that have patched images.
            folders: see above.
            ranks: of all records of the source, see `SourceOrder.ranks`.
            files_at_once: that the ranks come from.
            places_per_file: at most.
        """
        self.folders = folders
        self.files_at_once = files_at_once
        self.files: list[OutputFile] = []
        self._ranks = ranks
        self._places_per_file = places_per_file
        self._numbers: dict[tuple[Group, int], int] = {}
        for group, of_group in sorted(places.items()):
            parts, counts = np.unique(of_group // places_per_file, return_counts=True)
            for part, count in zip(parts.tolist(), counts.tolist(), strict=True):
                first = part * places_per_file
                end = min(first + places_per_file, folders[group][0].count)
                self._numbers[group, part] = len(self.files)
                self.files.append(OutputFile(group, first, end, count))

    def rank(self, place: Place) -> int:
        """Place of a record's patched images in the folders of its group; beyond their end, if it has none."""
        part, number = place
        return int(self._ranks[part][number])

    def file_number(self, group: Group, place: Place) -> int | None:
        """Number of the file of a record; None where it has no patched images."""
        rank = self.rank(place)
        if rank >= self.folders[group][0].count:
            return None
        return self._numbers[group, rank // self._places_per_file]
