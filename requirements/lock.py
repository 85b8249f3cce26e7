"""Writes the two locks with `uv pip compile`; `make lock` calls it.

The pins already in a lock are kept as long as they fit. `make lock ARGS=--upgrade` takes the newest releases.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Lock, overrides, and the Python versions below which it holds (the lowest is 3.10 for both).
LOCKS = (
    ("lock-glibc-2.39.txt", "newer-glibc.overrides", "3.14"),
    ("lock-glibc-older.txt", "older-glibc.overrides", "3.12"),
)


def compile_lock(lock: str, overrides: str, below: str, arguments: list[str]) -> None:
    """Resolves project.in for Linux x86_64 and Python 3.10 up to `below`; raises CalledProcessError."""
    environment = f"sys_platform == 'linux' and platform_machine == 'x86_64' and python_version < '{below}'"
    # uv reads the environments to resolve for from a project's pyproject.toml and from nowhere else.
    with tempfile.TemporaryDirectory() as project:
        Path(project, "pyproject.toml").write_text(f'[tool.uv]\nenvironments = ["{environment}"]\n')
        subprocess.run(
            [
                Path(sys.prefix, "bin", "uv"), "pip", "compile", "--quiet", "--project", project,
                "--universal", "--python-version", "3.10", "--no-emit-index-url", "--no-emit-find-links",
                "--custom-compile-command", "make lock",
                "--override", overrides, "project.in", "--output-file", lock, *arguments,
            ],
            cwd=HERE,
            check=True,
        )  # fmt: skip


if __name__ == "__main__":
    for lock, overrides, below in LOCKS:
        compile_lock(lock, overrides, below, sys.argv[1:])
        print(f"requirements/{lock}")
