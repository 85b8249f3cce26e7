"""Writes the locks with `uv pip compile`; `make lock` calls it.

There are two for two kinds of machines. What comes on top of one, for Kubeflow and for GPUs, is resolved to versions
that fit the lock as it is. The pins already in a lock are kept as long as they fit. `make lock ARGS=--upgrade` takes
the newest releases.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Lock, overrides, the Python versions below which it holds (the lowest is 3.10 for both), and what comes on top of it.
LOCKS = (
    ("lock-glibc-2.39.txt", "newer-glibc.overrides", "3.14", ("kubeflow", "gpu")),
    ("lock-glibc-older.txt", "older-glibc.overrides", "3.12", ("kubeflow",)),
)


def compile_lock(asked: str, lock: str, overrides: str, below: str, arguments: list[str]) -> None:
    """Resolves the file `asked` for Linux x86_64 and Python 3.10 up to `below`; raises CalledProcessError."""
    environment = f"sys_platform == 'linux' and platform_machine == 'x86_64' and python_version < '{below}'"
    # uv reads the environments to resolve for from a project's pyproject.toml and from nowhere else.
    with tempfile.TemporaryDirectory() as project:
        Path(project, "pyproject.toml").write_text(f'[tool.uv]\nenvironments = ["{environment}"]\n')
        subprocess.run(
            [
                Path(sys.prefix, "bin", "uv"), "pip", "compile", "--quiet", "--project", project,
                "--universal", "--python-version", "3.10", "--no-emit-index-url", "--no-emit-find-links",
                "--custom-compile-command", "make lock",
                "--override", overrides, asked, "--output-file", lock, *arguments,
            ],
            cwd=HERE,
            check=True,
        )  # fmt: skip


def on_top_of(lock: str) -> list[str]:
    """uv's arguments for what isn't in a lock, at versions that go with those in it."""
    names = re.findall(r"^([a-z0-9-]+)==", (HERE / lock).read_text(), re.MULTILINE)
    return ["--constraint", lock, *(f"--no-emit-package={name}" for name in sorted(set(names)))]


if __name__ == "__main__":
    for lock, overrides, below, additions in LOCKS:
        compile_lock("project.in", lock, overrides, below, sys.argv[1:])
        print(f"requirements/{lock}")
        for addition in additions:
            path = lock.replace("lock", addition)
            compile_lock(f"{addition}.in", path, overrides, below, [*on_top_of(lock), *sys.argv[1:]])
            print(f"requirements/{path}")
