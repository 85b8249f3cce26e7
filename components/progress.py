"""The progress bar of long work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY = 30.0  # seconds between two lines where there is no terminal
REDRAW_EVERY = 0.2  # seconds between two looks at the bar: a training step may take a millisecond


class Bar:
    """How far the work has come."""

    def __init__(self, description: str, total: int, progress: Progress | None):
        self._description = description
        self._total = total
        self._progress = progress
        self._task = None if progress is None else progress.add_task(description, total=total, note="")
        self._done = 0
        self._note = ""
        self._shown = time.monotonic()

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Says that `count` more units are done, and what to show beside them from now on."""
        self._done += count
        self._note = self._note if note is None else note
        now = time.monotonic()
        every = LINE_EVERY if self._progress is None else REDRAW_EVERY
        if now - self._shown >= every or self._done == self._total:
            self._shown = now
            self._show()

    def _show(self) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done, note=self._note)
            return
        note = f"  {self._note}" if self._note else ""
        rich.get_console().print(
            f"    {self._description}: {self._done} of {self._total}{note}", markup=False, highlight=False
        )


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Bar]:
    """Shows a live bar on rich's global console, or now and then a plain line where that is no terminal.

    Args:
        description: what is being done, in a few words.
        total: units of work.

    Yields:
        The bar, to be advanced.
    """
    console = rich.get_console()
    if not console.is_terminal:
        yield Bar(description, total, None)
        return
    columns = (
        TextColumn("    {task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        yield Bar(description, total, progress)
