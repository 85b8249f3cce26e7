"""Fingerprint of a component's source, so that an edited node is never served from the cache."""

import hashlib
from pathlib import Path

from model_patching.data.imported_files import package_folders, with_imported_files


def code_hash(package_folder_name: str) -> str:
    """SHA-256 over the source that the component in `components/<package_folder_name>/` is made of.

    That is every file of the folder (Python, templates, style sheets, YAML, ...), and every `model_patching` module
    that its Python files import, directly or through other modules, inside functions too. Names relative to
    `model_patching` and contents count; where the project lies and in which order files are found doesn't.

    Only `import` statements are followed: a module that is named in a string has to be imported somewhere as well.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: there is no such folder, or a module of this project is imported that doesn't exist.
        SyntaxError: a source file doesn't parse.
    """
    return hash_files(component_files(package_folder_name, package_folders()))


def hash_files(files: dict[str, Path]) -> str:
    """SHA-256 over names and contents, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        # The lengths keep one file's end from being read as the next one's start.
        digest.update(f"{len(name)} {name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def component_files(package_folder_name: str, roots: dict[str, Path]) -> dict[str, Path]:
    """Files that a component is made of.

    Args:
        package_folder_name: folder under `components/`.
        roots: folder of each top package: "components", "data", ...

    Returns:
        From the name relative to `model_patching` ("data/schema.py") to the file.
    """
    folder = roots["components"] / package_folder_name
    if not (folder / "__init__.py").is_file():
        raise ValueError(f"there is no component folder '{package_folder_name}' in {roots['components']}")
    files = {
        f"components/{path.relative_to(roots['components']).as_posix()}": path
        for path in folder.rglob("*")
        if path.is_file() and _is_source(path.relative_to(folder))
    }
    return with_imported_files(files, roots)


def _is_source(relative: Path) -> bool:
    """Whether a file counts: not compiled, hidden, or an editor's backup."""
    hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
    return not hidden and not relative.name.endswith((".pyc", "~"))
