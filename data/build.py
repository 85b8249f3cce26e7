"""Builds a data folder once and whole: used by every data set's builder."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from model_patching.data.dataset import SPLITS

MANIFEST = "manifest.json"


class BuildError(ValueError):
    """A data folder can't be built. The message is one line and names the folder or the setting."""


def inputs_fingerprint(inputs: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for everything that a folder is made from (JSON values)."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def source_hash(files: list[Path]) -> str:
    """SHA-256 over source files, so that an edited builder makes another folder; order counts, places don't."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def build_folder(
    output_dir: Path, inputs: dict[str, Any], write: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Fills a folder, unless it is there already.

    The work is done in a hidden folder beside it, which takes the final name when all is written: whatever happens,
    `output_dir` is whole or missing. A finished folder with the same inputs isn't touched, nor are its files' times.
    Two processes that build the same folder take turns.

    Args:
        output_dir: the folder to make.
        inputs: everything that decides its content, as JSON values.
        write: fills the folder that it is given and returns what the manifest says beside the inputs.

    Returns:
        Content of `manifest.json`: `inputs`, what `write` returned, and `files`, the size in bytes of each.

    Raises:
        BuildError: the folder holds something else, or can't be replaced. A folder whose name ends with the inputs'
            fingerprint is the builder's own and is built anew when it is damaged.
    """
    output_dir = output_dir.resolve()  # of a link the folder is replaced that it leads to
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    finished = _finished_manifest(output_dir, inputs)
    if finished is not None:
        return finished  # and nothing is written, not even a lock: the disk may be one that is only read
    partial = output_dir.parent / f".{output_dir.name}.partial"
    with turn(output_dir.parent / f".{output_dir.name}.lock"):
        finished = _finished_manifest(output_dir, inputs)
        if finished is not None:
            return finished
        _check_replaceable(output_dir)
        shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
        partial.mkdir()
        try:
            content = write(partial)
            manifest = {"inputs": inputs, **content, "files": _sizes(partial)}
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
            if output_dir.exists() and any(output_dir.iterdir()):
                shutil.rmtree(output_dir)  # damaged, see _finished_manifest; an empty one gives way by itself
            os.rename(partial, output_dir)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return manifest


@contextmanager
def turn(lock: Path) -> Iterator[None]:
    """Holds a lock file, which is made and in the end removed; the system frees it however the process ends."""
    while True:
        with open(lock, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # While this process waited, the one before it has removed the file: those that come now make another.
            if not _is_open_at(lock, file):
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_open_at(path: Path, file: BinaryIO) -> bool:
    """Whether an open file is the one that lies at a path now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _check_replaceable(output_dir: Path) -> None:
    """Refuses at once a folder whose place another could not take once the work is done."""
    if os.path.ismount(output_dir):
        raise BuildError(f"{output_dir} is a mount point, which can't be replaced; give a folder below it")
    if Path.cwd().is_relative_to(output_dir):
        raise BuildError(
            f"{output_dir} is or holds the current folder, which can't be replaced; give a folder below it"
        )


def _finished_manifest(output_dir: Path, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a whole folder with these inputs; None when it is to be built."""
    if not output_dir.exists():
        return None
    if not output_dir.is_dir():
        raise BuildError(f"{output_dir} is a file; give a folder, or remove it")
    try:
        if not any(output_dir.iterdir()):
            return None
        manifest = json.loads((output_dir / MANIFEST).read_text())
        same_inputs = manifest["inputs"] == inputs
        whole = _is_whole(output_dir, manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        same_inputs = whole = False
    if same_inputs and whole:
        return manifest
    if output_dir.name.endswith(inputs_fingerprint(inputs)):
        return None
    if same_inputs:
        raise BuildError(
            f"{output_dir} has files missing or changed since it was built; remove it or give another folder"
        )
    raise BuildError(
        f"{output_dir} holds data made with other settings, of other files or by another version; remove it or give "
        "another folder"
    )


def _is_whole(folder: Path, files: dict[str, int]) -> bool:
    """Whether a folder has the files with these sizes, and its splits no other. What else lies there is a user's."""
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == size for name, size in files.items()
    ) and all(f"{split}/{name}" in files for split in SPLITS for name in _sizes(folder / split))


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file under a folder, the manifest left out, by its relative name."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
