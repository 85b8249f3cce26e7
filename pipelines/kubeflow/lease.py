"""One process at a time runs a node, though Kubernetes may have started two pods for it.

It does so when it loses a machine that goes on working, and when two runs come to the same node: they would remove each
other's outputs and write into the same checkpoints.

The lease is the file with the highest number in a folder of the shared volume. Its holder counts up in it, and ends it
with a word. Who finds that word, or no change in `looks` looks, makes the file with the next number, which only one
can: the file system creates a name once. No file is removed, so that no number comes twice; no clocks are compared.

What it can't promise: a process that stood still for all those looks, without having ended, finds out only when it goes
on, within a minute at most (NFS remembers folders for so long). And an object store can't create a name only once
through TensorFlow: under gs://… there is no lease.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from model_patching.pipelines.console import say

_RELEASED = "released"
_LENGTH = 300  # characters of a file, more than a name of a host has


@contextlib.contextmanager
def lease(
    folder: Path, what: str, lost: Callable[[], None], *, every: float = 5, looks: int = 12
) -> Iterator[None]:
    """Waits until nobody else holds the lease, and holds it.

    Args:
        folder: of this lease, on storage that all processes share; it is made.
        what: the lease is for, as it is told while waiting.
        lost: is called in a thread where another process has taken the lease; should end this one.
        every: seconds between two signs of life, and two looks for them.
        looks: without a sign after which a holder counts as gone.

    Raises:
        OSError: the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number, descriptor = _take(folder, what, every, looks)
    done = threading.Event()
    beats = threading.Thread(target=_beat, args=(folder, number, descriptor, done, lost, every), daemon=True)
    beats.start()
    try:
        yield
    finally:
        done.set()
        beats.join()
        with contextlib.suppress(OSError):  # it becomes stale then
            _write(descriptor, _RELEASED)
        os.close(descriptor)


def _take(folder: Path, what: str, every: float, looks: int) -> tuple[int, int]:
    """Waits; returns the number and descriptor of the file that it has made."""
    waited_for, seen, unchanged = None, None, 0
    while True:
        number = _highest(folder)
        text = _file(folder, number).read_text().strip() if number else _RELEASED
        unchanged = unchanged + 1 if (number, text) == seen else 0
        seen = number, text
        if text == _RELEASED or unchanged >= looks:
            with contextlib.suppress(FileExistsError):  # another one was quicker
                return number + 1, _create(_file(folder, number + 1))
            continue
        if number != waited_for:
            say(f"• {what}  is being run by {text.partition(' ')[2] or 'another process'}, waiting for it")
            waited_for = number
        time.sleep(every)


def _beat(
    folder: Path,
    number: int,
    descriptor: int,
    done: threading.Event,
    lost: Callable[[], None],
    every: float,
) -> None:
    """Gives signs of life until it is done, or another one has taken the lease."""
    count = 0
    while not done.wait(every):
        count += 1
        with contextlib.suppress(OSError):  # the storage may be away for a while
            _write(descriptor, _sign(count))
        with contextlib.suppress(OSError):
            if _highest(folder) > number:
                lost()
                return


def _create(path: Path) -> int:
    """Raises FileExistsError where the file is there."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    _write(descriptor, _sign(0))
    return descriptor


def _sign(count: int) -> str:
    return f"{count} {socket.gethostname()}, process {os.getpid()}"


def _write(descriptor: int, text: str) -> None:
    os.pwrite(descriptor, text.ljust(_LENGTH).encode(), 0)  # over all of the last one
    os.fsync(descriptor)


def _highest(folder: Path) -> int:
    """0 where nobody has ever held the lease."""
    return max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}"
