"""What the image is built of, read from the Dockerfile. tests/slow/test_image.py takes its steps."""

import re
import subprocess
from pathlib import Path

import pytest
from docker.utils import exclude_paths

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def context() -> set[str]:
    """The files that Docker gets, by docker's own reading of .dockerignore."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    return {path for path in exclude_paths(str(ROOT), patterns) if (ROOT / path).is_file()}


def test_the_context_has_what_is_copied_and_nothing_else(
    context: set[str], instructions: list[tuple[str, str]]
) -> None:
    sources = set()
    for name, value in instructions:
        if name == "COPY" and not value.startswith("--from"):
            sources.update(value.split()[:-1])
    tracked = subprocess.run(
        ["git", "ls-files", *sources], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for source in sources:
        assert any(path == source or path.startswith(f"{source}/") for path in tracked), source
    assert set(tracked) <= context
    extra = context - set(tracked) - {".dockerignore", "Dockerfile"}
    assert not [path for path in extra if path.startswith((".git/", ".venv", "runs", "tests"))], extra
    assert {path.partition("/")[0] for path in context} <= {
        *(source.partition("/")[0] for source in sources),
        *(".dockerignore", "Dockerfile"),
    }


def test_the_packages_are_those_of_the_lock_for_the_c_library_of_the_base(
    instructions: list[tuple[str, str]],
) -> None:
    bases = [value.split()[0] for name, value in instructions if name == "FROM"]
    assert [base for base in bases if base.startswith("debian:")] == bases[:1]
    # Debian 13 has glibc 2.41. A tag can be moved, a digest can't.
    assert re.fullmatch(r"debian:trixie-\d{8}-slim@sha256:[0-9a-f]{64}", bases[0])
    installed = re.findall(r"requirements/[a-z0-9.-]+\.txt", " ".join(value for _, value in instructions))
    assert set(installed) == {f"requirements/{name}-glibc-2.39.txt" for name in ("lock", "kubeflow", "gpu")}


def test_the_cuda_libraries_go_with_the_lock() -> None:
    """They are what tensorflow[and-cuda] adds: nothing that the lock has at another version."""

    def names(path: str) -> set[str]:
        text = (ROOT / "requirements" / path).read_text()
        return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))

    on_top = names("gpu-glibc-2.39.txt")
    assert {"nvidia-cudnn-cu12", "nvidia-cublas-cu12", "nvidia-nccl-cu12"} <= on_top
    assert all(name.startswith("nvidia-") for name in on_top)
    assert not on_top & names("lock-glibc-2.39.txt")


def test_the_last_stage_is_not_root_and_holds_no_lists_of_packages(
    instructions: list[tuple[str, str]],
) -> None:
    last = instructions[max(index for index, (name, _) in enumerate(instructions) if name == "FROM") :]
    users = [value for name, value in last if name == "USER"]
    assert users == ["1000"]
    assert last.index(("USER", "1000")) > max(
        index for index, (name, _) in enumerate(last) if name in ("RUN", "COPY")
    )
    for name, value in instructions:
        if name == "RUN" and "apt-get update" in value:
            assert value.endswith("rm -rf /var/lib/apt/lists/*")
