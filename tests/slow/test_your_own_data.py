"""docs/your-own-data.md, done word for word in an empty folder."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "your-own-data.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\S+\.\w+)\n")  # the first line of a file


class Step(NamedTuple):
    """A fenced block: a file by its name, or commands and what the page shows of their output."""

    file: str | None
    text: str
    shown: str | None


def read_steps(page: str) -> Iterator[Step]:
    """The blocks of a page in their order; an output belongs to the commands above it."""
    blocks = BLOCK.findall(page)
    for place, (language, text) in enumerate(blocks):
        if language in ("python", "yaml"):
            yield Step(FILE_NAME.match(text)[1], text, None)
        elif language == "sh":
            following, output = blocks[place + 1] if place + 1 < len(blocks) else ("", "")
            yield Step(None, text, output if following == "text" else None)
        else:
            assert language == "text" and blocks[place - 1][0] == "sh", f"{language}: {text}"


def plain(line: str) -> str:
    """A line without what differs between machines: times, and the figures of a training."""
    line = re.sub(r"^(✓ \w+) .*", r"\1", line)
    line = re.sub(r"[−+]?\d[\d,.]*", "#", line).replace("─", "")
    return re.sub(r"[━─\s]+", " ", line).strip()


def test_the_page_works_as_written(make_workspace):
    workspace = make_workspace("empty")
    for file, text, shown in read_steps(PAGE.read_text(encoding="utf-8")):
        if file is not None:
            (workspace.folder / file).write_text(text, encoding="utf-8")
            continue
        code, output = workspace.run("bash", "-c", text)
        if shown is None:
            assert code == 0, f"{text}\n{output}"
            continue
        trains = "model-patching run" in text
        lines = iter([plain(line) if trains else line.rstrip() for line in output.splitlines()])
        for line in shown.splitlines():
            line = plain(line) if trains else line.rstrip()
            assert line == "…" or line in lines, f"{text}\nwithout\n{line}\n{output}"

    # What the page says of the report.
    (first, second) = sorted(
        workspace.folder.glob("runs/model_patching/SubgroupReport/report/*/summary.json"),
        key=lambda path: int(path.parent.name),
    )
    summary = json.loads(first.read_text())
    assert summary["blessed"] is True
    assert summary["baseline"]["worst_group"] == "cross / grass"
    assert summary["baseline"]["worst_group_accuracy"] < 0.75 < 0.8 <= summary["worst_group_accuracy"]
    other = json.loads(second.read_text())
    assert other["method"] == "erm" and other["blessed"] is False
    assert other["dataset"]["classes"] == ["circle", "cross", "triangle"]
