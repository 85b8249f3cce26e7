"""The progress bar, on a terminal and without one."""

import io

import pytest
import rich

from model_patching.components import progress
from model_patching.components.progress import progress_bar


@pytest.fixture
def written() -> io.StringIO:
    """What the global console writes, as plain text."""
    stream = io.StringIO()
    rich.reconfigure(file=stream, force_terminal=False, width=100)
    yield stream
    rich.reconfigure()


@pytest.fixture
def drawn() -> io.StringIO:
    """What the global console draws on a terminal."""
    stream = io.StringIO()
    rich.reconfigure(file=stream, force_terminal=True, width=100)
    yield stream
    rich.reconfigure()


def test_without_a_terminal_few_plain_lines_are_written(written: io.StringIO):
    with progress_bar("train [a]", 1000) as bar:
        for step in range(1000):
            bar.advance(1, note=f"worst group 0.{step:03}")
    lines = written.getvalue().splitlines()
    assert 1 <= len(lines) <= 2
    assert "train [a]" in lines[-1]
    assert "worst group 0.999" in lines[-1]
    assert "\x1b" not in written.getvalue()


def test_a_line_comes_when_its_time_has(written: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress_bar("train", 100) as bar:
        before = len(written.getvalue().splitlines())
        for _ in range(99):
            now[0] += 1.0
            bar.advance(1)
        lines = written.getvalue().splitlines()[before:]
    assert len(lines) == 3
    assert [part in line for part, line in zip(("30", "60", "90"), lines, strict=True)] == [True] * 3


def test_a_note_stays_until_the_next(written: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    with progress_bar("train", 3) as bar:
        bar.advance(1, note="first")
        bar.advance(2)
    assert "first" in written.getvalue().splitlines()[-1]


def test_on_a_terminal_the_bar_shows_the_note_and_is_gone_at_the_end(drawn: io.StringIO):
    with progress_bar("train [a]", 10) as bar:
        bar.advance(10, note="worst group [0.87]")
    assert "train [a]" in drawn.getvalue()
    assert "10/10" in drawn.getvalue()
    assert "worst group [0.87]" in drawn.getvalue()
    assert drawn.getvalue().endswith(("\x1b[2K", "\x1b[1A\x1b[2K"))


def test_prints_of_other_code_are_not_drawn(drawn: io.StringIO, capsys: pytest.CaptureFixture[str]):
    with progress_bar("train", 10) as bar:
        print("noise")
        bar.advance(10)
    assert "noise" not in drawn.getvalue()
    assert capsys.readouterr().out == "noise\n"


def test_an_error_goes_through(written: io.StringIO):
    with pytest.raises(KeyError), progress_bar("train", 10) as bar:
        bar.advance(1)
        raise KeyError("x")
