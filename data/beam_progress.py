"""How far a Beam pipeline has come: its workers tell by files, as no call of theirs reaches the main process."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

EVERY = 0.5  # seconds between two looks

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, how much there is


def set_total(folder: str | Path, stage: str, total: int) -> None:
    """Says how much there is to do in a stage."""
    partial = Path(folder) / f"{stage}.{uuid4().hex}"
    partial.write_text(str(total))
    partial.rename(_total_file(folder, stage))


def advance(folder: str | Path, stage: str, count: int) -> None:
    """Says that so much more is done; to be called for many units at once."""
    with open(_done_file(folder, stage), "ab") as file:
        file.write(b"." * count)  # the file's size is what counts


@contextmanager
def watched(folder: str | Path, stages: Sequence[str], progress: Progress | None) -> Iterator[None]:
    """Calls `progress` from a thread while the body runs, and once more at its end.

    Args:
        folder: where the workers tell it.
        stages: names of what is done, in their order.
        progress: called with each stage that has begun, whenever there is news; at least once with the first, if its
            total was set before.
    """
    stop = threading.Event()

    def watch() -> None:
        told: dict[str, tuple[int, int]] = {}
        last_look = False
        while not last_look:
            last_look = stop.wait(EVERY)
            for stage in stages:
                total = _total_file(folder, stage)
                if total.exists():
                    done = _done_file(folder, stage)
                    state = (done.stat().st_size if done.exists() else 0, int(total.read_text()))
                    begun = state[0] > 0 or stage == stages[0]
                    if begun and told.get(stage) != state:
                        told[stage] = state
                        progress(stage, *state)

    if progress is None:
        yield
        return
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _total_file(folder: str | Path, stage: str) -> Path:
    return Path(folder) / f"{stage}.total"


def _done_file(folder: str | Path, stage: str) -> Path:
    return Path(folder) / f"{stage}.done"
