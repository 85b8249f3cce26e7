"""Finds the files of a published data set: in a folder that is there, or by a download with a progress bar."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rich
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from model_patching.components.progress import LINE_EVERY
from model_patching.data.source import SourceError
from model_patching.pipelines.console import say

DOWNLOADS = Path("downloads")
MIRROR = "MODEL_PATCHING_MIRROR"  # in the environment


def source_folder(dataset: str, source: Path | None, download: bool, mirror: str | None) -> Path:
    """Says where the files of a data set are, and fetches them if asked to.

    Args:
        dataset: a key of `download.ARCHIVES`.
        source: folder of what is there; with `download` where the archive goes, None for `downloads/`.
        download: whether to fetch what isn't there.
        mirror: address of the folder that has the archive; None for that of MODEL_PATCHING_MIRROR, and without it
            the published one.

    Raises:
        SourceError: neither a folder nor a download was asked for.
        DownloadError: the archive can't be had.
    """
    if not download:
        if mirror is not None:
            raise SourceError("--mirror goes with --download")
        if source is None:
            raise SourceError(
                "give the folder that has the data set with --source, or fetch it with --download"
            )
        return source
    # requests takes a moment to load, and most commands need none of it.
    from model_patching.data.download import ARCHIVES, BASE_URL, downloaded

    with _bar(ARCHIVES[dataset]) as show:
        base_url = mirror or os.environ.get(MIRROR) or BASE_URL
        return downloaded(dataset, source or DOWNLOADS, base_url, show)


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Shows how much of a file has come, with its speed; now and then a plain line where there is no terminal."""
    console = rich.get_console()
    if not console.is_terminal:
        shown = time.monotonic()

        def show_line(done: int, total: int | None) -> None:
            nonlocal shown
            if time.monotonic() - shown >= LINE_EVERY or done == total:
                shown = time.monotonic()
                of_all = "" if total is None else f" of {total / 2**20:,.1f}"
                say(f"    {name}: {done / 2**20:,.1f}{of_all} MiB")

        yield show_line
        return
    columns = (
        TextColumn("    {task.description}", markup=False),
        BarColumn(bar_width=30),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
