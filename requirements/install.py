#!/usr/bin/env python3
"""Makes `.venv` from the lock that fits this machine, and the project in it. `make` calls it first.

With the argument `kubeflow` it makes `.venv-kubeflow`: the same, with the packages of requirements/kubeflow-*.txt on
top. A second call finds the stamp `.installed` in the environment and does nothing. Standard library only. Runs on
Python 3.6 and newer, because even a Python that is too old for the project must look for a better one and say what is
missing.
"""

import errno
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

Version = Tuple[int, int]

ROOT = Path(__file__).resolve().parent.parent
STAMP = ".installed"

# What can be had beside `.venv`: environments with a few packages more, `.venv-<name>`.
ADDITIONS = ("kubeflow",)

# Lock, the oldest glibc whose machines take it, and its Python versions, newest first.
LOCKS = (
    ("lock-glibc-2.39.txt", (2, 39), ((3, 13), (3, 12), (3, 11), (3, 10))),
    ("lock-glibc-older.txt", (2, 28), ((3, 11), (3, 10))),
)

# pyfarmhash has no wheel for these, so that they need a C++ compiler and Python's headers.
COMPILING_PYTHONS = ((3, 10),)

# Measured: .venv is 3.2 GiB. uv's cache shares its files where both lie on one disk; the rest is for downloads
# on their way.
NEEDED_GIB = 5

# What an interpreter tells about itself. One of a virtual environment names the Python that it was made from:
# `.venv` may be the one that runs this, and it can't be made from itself.
PROBE = """
import os, platform, sys, sysconfig
if platform.python_implementation() != "CPython" or sys.maxsize < 2**32 or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("no package has wheels for PyPy, 32 bits and free threading")
try:
    import ensurepip, venv
    has_venv = 1
except ImportError:
    has_venv = 0
base = os.path.join(getattr(sys, "base_prefix", sys.prefix), "bin", "python%d.%d" % sys.version_info[:2])
has_headers = int(os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))
print("python %d %d %d %d %s" % (sys.version_info[:2] + (has_venv, has_headers,
                                 base if os.path.exists(base) else sys.executable)))
"""


class Refusal(Exception):
    """One line for the user: this machine, or its Python, doesn't fit."""


class Failure(Exception):
    """One line for the user: a step of the installation failed."""


class Interpreter(NamedTuple):
    """A Python that was run and answered."""

    path: str
    version: Version
    has_venv: bool
    has_headers: bool


def main(arguments: Sequence[str] = ()) -> int:
    """Returns the exit code: 0 installed, 1 a step failed, 2 wrong machine or argument, 130 interrupted."""
    if len(arguments) > 1 or not set(arguments) <= set(ADDITIONS):
        print(f"usage: install.py [{'|'.join(ADDITIONS)}]", file=sys.stderr)
        return 2
    addition = arguments[0] if arguments else None
    venv = ROOT / (f".venv-{addition}" if addition else ".venv")
    try:
        install(venv, addition)
    except Refusal as refusal:
        print(f"model-patching: {refusal}", file=sys.stderr)
        return 2
    except Failure as failure:
        print(f"model-patching: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        shutil.rmtree(str(venv), ignore_errors=True)
        print(f"model-patching: {disk_full()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmodel-patching: interrupted; the same command starts it again.", file=sys.stderr)
        return 130
    return 0


def install(venv: Path, addition: Optional[str]) -> None:
    """Brings an environment up to date. Raises Refusal, Failure or OSError."""
    glibc = check_platform()
    lock, pythons = choose_lock(glibc)
    locks = [lock]
    if addition:
        locks.append(lock.with_name(lock.name.replace("lock", addition, 1)))
    interpreter = choose_interpreter(pythons, glibc)
    stamp = fingerprint(locks, interpreter)
    if is_installed(venv, stamp):
        return

    remove_venv(venv)
    check_disk()
    started = time.monotonic()
    python, uv = str(venv / "bin" / "python"), str(venv / "bin" / "uv")
    step(
        f"{venv.name} with Python {dotted(interpreter.version)}",
        [interpreter.path, "-m", "venv", str(venv)],
    )
    step("uv", [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", pinned_uv(lock)])
    for path in locks:
        step(
            f"packages of requirements/{path.name}",
            [uv, "pip", "install", "--python", python, "--no-deps", "-r", str(path)],
        )
    step(
        "model-patching",
        [uv, "pip", "install", "--python", python, "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
    )
    (venv / STAMP).write_text(stamp + "\n")
    print(f"installed in {time.monotonic() - started:.0f} s", flush=True)


def check_platform() -> Version:
    """Returns the version of glibc, e.g. (2, 36). Raises Refusal where it is no Linux x86_64 with glibc."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise Refusal(
            f"TFX has packages for Linux x86_64 only, and this is {system} {machine}; "
            "use a Linux x86_64 machine or container."
        )
    library, version = libc()
    if library != "glibc":
        raise Refusal(
            "TFX's packages need glibc, which this Linux (musl?) doesn't have; use Debian, Ubuntu or the like."
        )
    major, minor = re.match(r"(\d+)\.(\d+)", version).groups()
    return int(major), int(minor)


def libc() -> Tuple[str, str]:
    """Returns the C library's name and version: ("glibc", "2.36"), or ("", "") where it isn't glibc."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (OSError, ValueError):  # musl: the name is unknown, or has no value
        return "", ""
    return name, version


def choose_lock(glibc: Version) -> Tuple[Path, Tuple[Version, ...]]:
    """Returns the lock for this glibc and the Python versions it is for, newest first."""
    for name, oldest_glibc, pythons in LOCKS:
        if glibc >= oldest_glibc:
            return ROOT / "requirements" / name, pythons
    raise Refusal(
        f"TensorFlow's packages need glibc {dotted(LOCKS[-1][1])} or newer, and this machine has "
        f"{dotted(glibc)}; use Debian 12, Ubuntu 22.04 or newer."
    )


def choose_interpreter(pythons: Tuple[Version, ...], glibc: Version) -> Interpreter:
    """Returns the Python that runs this if it fits, else the newest on PATH that does. Raises Refusal."""
    commands = [sys.executable]
    for version in pythons:
        commands.extend(os.path.join(folder, "python" + dotted(version)) for folder in os.get_exec_path())
    obstacles = []
    for command in commands:
        interpreter = probe(command)
        if interpreter is None or interpreter.version not in pythons:
            continue
        reason = obstacle(interpreter)
        if reason is None:
            return interpreter
        obstacles.append(reason)
    if obstacles:
        raise Refusal(obstacles[0])
    raise Refusal(
        f"needs Python {dotted(pythons[-1])} to {dotted(pythons[0])} on this machine (glibc {dotted(glibc)}), "
        f"and this is {dotted(sys.version_info[:2])}; install one so that python{dotted(pythons[0])} is on PATH."
    )


def dotted(version: Version) -> str:
    """Returns "3.11" for (3, 11)."""
    return "{}.{}".format(*version)


def probe(command: str) -> Optional[Interpreter]:
    """Runs an interpreter. Returns None if it isn't there, doesn't run (as pyenv's shims may), or can't fit."""
    if not os.access(command, os.X_OK):
        return None
    try:
        answer = subprocess.run(
            [command, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"^python (\d+) (\d+) ([01]) ([01]) (.+)$", answer, re.MULTILINE)
    if match is None:
        return None
    major, minor, has_venv, has_headers, path = match.groups()
    return Interpreter(path, (int(major), int(minor)), has_venv == "1", has_headers == "1")


def obstacle(interpreter: Interpreter) -> Optional[str]:
    """Returns what keeps an interpreter of a fitting version from making `.venv`, or None."""
    version = dotted(interpreter.version)
    if not interpreter.has_venv:
        return (
            f"{interpreter.path} can't make virtual environments; "
            f"`apt install python3-venv` (or python{version}-venv) brings the missing module."
        )
    has_compiler = shutil.which("c++") or shutil.which("g++")
    if interpreter.version in COMPILING_PYTHONS and not (has_compiler and interpreter.has_headers):
        return (
            f"Python {version} must compile a package: `apt install g++ python{version}-dev` brings what that "
            "takes; Python 3.11 needs no compiler."
        )
    return None


def fingerprint(locks: List[Path], interpreter: Interpreter) -> str:
    """Returns a hash of all that decides what is in an environment. Its scripts hold the project's absolute path."""
    digest = hashlib.sha256(f"{interpreter.version} {ROOT}".encode())
    for path in (*locks, ROOT / "setup.py", ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_installed(venv: Path, stamp: str) -> bool:
    """Whether an environment is complete, of this fingerprint, and its Python is still there."""
    try:
        return (venv / STAMP).read_text().strip() == stamp and os.access(
            str(venv / "bin" / "python"), os.X_OK
        )
    except OSError:
        return False


def remove_venv(venv: Path) -> None:
    """Removes an environment, its stamp first: what an interrupted removal leaves must not look complete."""
    if (venv / STAMP).exists():
        (venv / STAMP).unlink()
    if venv.is_symlink():
        venv.unlink()
    elif venv.exists():
        print(f"removing the {venv.name} that is out of date or incomplete", flush=True)
        shutil.rmtree(str(venv))


def check_disk() -> None:
    """Raises Refusal if the installation won't fit."""
    free = shutil.disk_usage(str(ROOT)).free / 2**30
    if free < NEEDED_GIB:
        raise Refusal(f"needs {NEEDED_GIB} GiB of disk at {ROOT}, and {free:.1f} GiB are free; make room.")


def pinned_uv(lock: Path) -> str:
    """Returns the lock's own pin of uv, e.g. "uv==0.13.9"."""
    return re.search(r"^uv==[^ ;]+", lock.read_text(), re.MULTILINE).group()


def step(name: str, command: List[str]) -> None:
    """Runs one command, prints its name and seconds. Raises Failure, the command's output printed before."""
    print(f"  {name} ...", end="", flush=True)
    started = time.monotonic()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=str(ROOT))
    finally:
        print(f" {time.monotonic() - started:.1f} s", flush=True)
    if done.returncode == 0:
        return
    output = done.stdout.decode(errors="replace").strip()
    # venv doesn't pass on what its pip said, so look at the disk, too.
    full = shutil.disk_usage(str(ROOT)).free < 2**26
    if full or "No space left on device" in output or "Disk quota exceeded" in output:
        raise OSError(errno.ENOSPC, "No space left on device")
    print(output, file=sys.stderr)
    raise Failure(f"installing {name} failed with exit code {done.returncode}; the reason is above.")


def disk_full() -> str:
    """Returns the line for a disk that filled up on the way."""
    return (
        f"the disk filled up while installing; needs {NEEDED_GIB} GiB at {ROOT} "
        "and, if it lies on another disk, as much for uv's cache (UV_CACHE_DIR); make room and run it again."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
