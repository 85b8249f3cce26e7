"""Fingerprint of a component's source, so that an edited node is never served from the cache."""

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

NAMESPACE = "model_patching"
PACKAGES = ("components", "data", "pipelines")


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
    roots = {}
    for package in PACKAGES:
        spec = find_spec(f"{NAMESPACE}.{package}")
        if spec is not None and spec.origin is not None:
            roots[package] = Path(spec.origin).parent
    return hash_files(component_files(package_folder_name, roots))


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
    waiting = [name for name in files if name.endswith(".py")]
    while waiting:
        name = waiting.pop()
        for imported, path in _imported_files(name, files[name], roots):
            if imported not in files:
                files[imported] = path
                waiting.append(imported)
    return files


def _is_source(relative: Path) -> bool:
    """Whether a file counts: not compiled, hidden, or an editor's backup."""
    hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
    return not hidden and not relative.name.endswith((".pyc", "~"))


def _imported_files(name: str, path: Path, roots: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """Files of this project that one source file imports, with the `__init__.py` of each package on the way."""
    for module, must_exist in _imported_modules(name, path):
        parts = module.split(".")
        if parts[0] != NAMESPACE or len(parts) == 1:
            continue
        found = _module_file(parts[1:], roots)
        if found is None and must_exist:
            raise ValueError(f"{name} imports {module}, which has no source file")
        if found is None:
            continue
        yield found
        for depth in range(1, len(parts) - 1):
            package = _module_file(parts[1 : 1 + depth], roots)
            if package is not None:
                yield package


def _imported_modules(name: str, path: Path) -> Iterator[tuple[str, bool]]:
    """Full names that a source file imports, each with whether it is surely a module (or maybe a module's member)."""
    package = [NAMESPACE, *Path(name).parent.parts]
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, True
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + (node.module.split(".") if node.module else []))
            if module != NAMESPACE:
                yield module, True
            for alias in node.names:
                yield f"{module}.{alias.name}", module == NAMESPACE


def _module_file(parts: list[str], roots: dict[str, Path]) -> tuple[str, Path] | None:
    """Relative name and file of the module `model_patching.<parts>`; None when there is none."""
    if parts[0] not in roots:
        return None
    candidates = ["/".join([*parts[1:], "__init__.py"])]
    if len(parts) > 1:
        candidates.append("/".join(parts[1:]) + ".py")
    for relative in candidates:
        path = roots[parts[0]] / relative
        if path.is_file():
            return f"{parts[0]}/{relative}", path
    return None
