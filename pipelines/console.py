"""Keeps the terminal for what a person wants to see, and moves everything else to a log file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_WIDTH = 160  # columns at most, where there is no terminal
_UNLIMITED = 10_000


@contextmanager
def output_moved_to(log: Path) -> Iterator[None]:
    """Moves standard output and error to a file, but leaves rich's global console (`rich.get_console()`) where it was.

    The file descriptors themselves are moved, so that what C++ code and child processes write goes along. Where
    standard output is no terminal, the console writes plain text.

    Args:
        log: appended to, its folder is made. A file that stays empty is removed at the end.

    Raises:
        OSError: the log can't be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log_descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    real_output, real_error = os.dup(1), os.dup(2)
    os.dup2(log_descriptor, 1)
    os.dup2(log_descriptor, 2)
    os.close(log_descriptor)
    # A test or a notebook may have put something else in place of sys.stdout, with an encoding of its own.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    person = open(real_output, "w", encoding=encoding, errors="replace", closefd=False)  # noqa: SIM115
    # In a file or pipe nothing has to fit a screen: rich's 80 columns would only cut the table.
    rich.reconfigure(file=person, width=None if person.isatty() else PLAIN_WIDTH)
    try:
        yield
    finally:
        rich.reconfigure()
        person.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(real_output, 1)
        os.dup2(real_error, 2)
        os.close(real_output)
        os.close(real_error)
        if log.is_file() and log.stat().st_size == 0:
            log.unlink()


def say(text: str, style: str | None = None) -> None:
    """Prints lines on rich's global console just as they are: no markup, no wrapping into several lines."""
    rich.get_console().print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """Prints a table on standard output; in a file or pipe, where nothing has to fit a screen, as wide as it needs."""
    Console(width=None if sys.stdout.isatty() else _UNLIMITED).print(table)


@contextmanager
def working_on(what: str) -> Iterator[None]:
    """On a terminal, shows a spinner and the time that has passed; elsewhere nothing."""
    console = rich.get_console()
    if not console.is_terminal:
        yield
        return
    # rich's own `console.status` would also draw other code's prints, which belong to the log.
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        refresh_per_second=5,
    ) as progress:
        progress.add_task(what, total=None)
        yield
