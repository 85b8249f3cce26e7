"""Bad records: where they are, and how many there may be."""

from collections.abc import Sequence
from typing import NamedTuple

from model_patching.data.source import BadRecord, SourceError


class Bad(NamedTuple):
    """A bad record and where it is: number of its part, and its number in the part."""

    part: int
    number: int
    record: BadRecord


def check_not_too_many(bad: Sequence[BadRecord], skip_bad: int) -> None:
    """Refuses more bad records than may be skipped; names the first that is too many."""
    if len(bad) > skip_bad:
        record = bad[skip_bad]
        more = f" (after {skip_bad} that were skipped)" if skip_bad else ""
        raise SourceError(f"{record.place}: {record.reason}{more}")
