"""Finds out how many files were read at once when the patched images were made, or checks what the settings say.

Some places of each group are compared: for each number of files another record belongs to a place, and with the right
number the records resemble the patched images that lie there.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_patching.components.augmenter.layout import Group
from model_patching.components.published_patches.folders import PatchesError
from model_patching.components.published_patches.resemblance import resembling
from model_patching.components.published_patches.settings import PatchingSettings
from model_patching.components.published_patches.shards import PatchedFolder
from model_patching.data.source_order import SourceOrder

SAMPLES = 32  # of each group
ENOUGH = 8  # samples of a folder that say something about that folder alone


@dataclass(frozen=True)
class Candidate:
    """An order that the source's records may have been read in.

    Attributes:
        numbers: of files read at once, all that give this order.
        ids: for each group the records at its `sample_places`.
    """

    numbers: tuple[int, ...]
    ids: dict[Group, tuple[str, ...]]


def sample_places(count: int) -> tuple[int, ...]:
    """Places that are compared in a group of `count` records, spread over all of them."""
    return tuple(np.unique(np.linspace(0, count - 1, SAMPLES).astype(int)).tolist())


def candidates(
    order: SourceOrder, codes: Mapping[Group, int], counts: Mapping[Group, int]
) -> list[Candidate]:
    """Every order that some number of files read at once gives; numbers above `most_files` give that of `most_files`.

    Args:
        order: of the source's records.
        codes: of each group in `order`.
        counts: patched records of each group.
    """
    found: dict[tuple, list[int]] = {}
    for number in range(1, order.most_files + 1):
        ranks = order.ranks(number)
        ids = tuple(
            order.ids_at(ranks, codes[group], sample_places(count)) for group, count in counts.items()
        )
        found.setdefault(ids, []).append(number)
    return [Candidate(tuple(numbers), dict(zip(counts, ids, strict=True))) for ids, numbers in found.items()]


def find_order(
    candidates: Sequence[Candidate],
    sources: Mapping[str, np.ndarray],
    patched: Mapping[Group, Sequence[PatchedFolder]],
    settings: PatchingSettings,
) -> int:
    """Decides how many files were read at once.

    Args:
        candidates: to choose from.
        sources: thumbnails of the records that the candidates name, by id; those that are there.
        patched: the folders of each group, with thumbnails at its `sample_places`.
        settings: the number, or null to find it, and the least resemblance.

    Returns:
        The number.

    Raises:
        PatchesError: the records don't resemble their patched images with any number, or not with that of the
            settings; or several numbers do equally well.
    """
    shares = [_shares(candidate, sources, patched) for candidate in candidates]
    totals = [_total(of_candidate) for of_candidate in shares]
    best = int(np.argmax(totals))
    asked = settings.files_read_at_once
    if asked is None:
        equal = [candidates[i].numbers[0] for i, total in enumerate(totals) if total == totals[best]]
        if len(equal) > 1:
            raise PatchesError(
                f"{settings.folder}: the order of the images can't be told: {', '.join(map(str, equal))} files read at "
                f"once do equally well ({totals[best]:.0%}); set patching.files_read_at_once"
            )
        number, chosen = candidates[best].numbers[0], best
    else:
        largest = max(number for candidate in candidates for number in candidate.numbers)
        number = min(asked, largest)
        chosen = next(i for i, candidate in enumerate(candidates) if number in candidate.numbers)

    folder, share = _least(shares[chosen], totals[chosen], str(settings.folder))
    if share < settings.min_resemblance:
        raise PatchesError(
            f"{folder}: the order seems wrong: only {share:.0%} of its images resemble their own record most with "
            f"{number} files read at once; {_way_out(candidates, shares, totals, best, chosen, settings)}"
        )
    logging.info("%s: %d files read at once: %s", settings.folder, number, shares[chosen])
    return number


def _shares(
    candidate: Candidate, sources: Mapping[str, np.ndarray], patched: Mapping[Group, Sequence[PatchedFolder]]
) -> dict[str, tuple[int, int]]:
    """For each folder how many of its samples resemble their own record most, and how many there are."""
    shares = {}
    for group, folders in patched.items():
        ids = candidate.ids[group]
        for folder in folders:
            pairs = [
                (sources[example_id], folder.thumbnails[place])
                for example_id, place in zip(ids, sorted(folder.thumbnails), strict=True)
                if example_id in sources
            ]
            if len(pairs) > 1:
                images, renditions = (np.stack(thumbnails) for thumbnails in zip(*pairs, strict=True))
                shares[folder.folder] = int(resembling(images, renditions).sum()), len(pairs)
    return shares


def _total(shares: Mapping[str, tuple[int, int]]) -> float:
    """The share over all folders; 1 where there is nothing to compare."""
    compared = sum(count for _, count in shares.values())
    return sum(good for good, _ in shares.values()) / compared if compared else 1.0


def _least(shares: Mapping[str, tuple[int, int]], total: float, base: str) -> tuple[str, float]:
    """The lowest share, of all folders together or of one with enough samples, and whose it is."""
    found = {base: total}
    found |= {folder: good / count for folder, (good, count) in shares.items() if count >= ENOUGH}
    return min(found.items(), key=lambda item: item[1])


def _way_out(
    candidates: Sequence[Candidate],
    shares: Sequence[Mapping[str, tuple[int, int]]],
    totals: Sequence[float],
    best: int,
    chosen: int,
    settings: PatchingSettings,
) -> str:
    """What to try where the records don't resemble their patched images."""
    _, share = _least(shares[best], totals[best], "")
    if best != chosen and share >= settings.min_resemblance:
        return f"with patching.files_read_at_once {candidates[best].numbers[0]} it is {share:.0%} at least"
    return (
        "and no other number does better: the records must be built from the published files, all of them and "
        "nothing else; lower patching.min_resemblance if translators change images that much"
    )
