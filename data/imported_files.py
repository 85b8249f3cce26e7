"""Which source files of this project a module is made of: its own, and those that it imports."""

import ast
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

NAMESPACE = "model_patching"
PACKAGES = ("components", "data", "pipelines")


def module_files(modules: Iterable[str]) -> list[Path]:
    """Files of modules and of all that they import, directly or through other modules, inside functions too.

    Args:
        modules: full names; those that aren't of this project are left out.

    Returns:
        The files, in the order of their names.

    Raises:
        ValueError: a module of this project is imported that doesn't exist.
    """
    roots = package_folders()
    files = {}
    for module in modules:
        namespace, *parts = module.split(".")
        found = _module_file(parts, roots) if namespace == NAMESPACE and parts else None
        if found is not None:
            files[found[0]] = found[1]
    files = with_imported_files(files, roots)
    return [files[name] for name in sorted(files)]


def package_folders() -> dict[str, Path]:
    """Folder of each top package: "components", "data", ..."""
    specs = {package: find_spec(f"{NAMESPACE}.{package}") for package in PACKAGES}
    return {
        package: Path(spec.origin).parent
        for package, spec in specs.items()
        if spec is not None and spec.origin is not None
    }


def with_imported_files(files: dict[str, Path], roots: dict[str, Path]) -> dict[str, Path]:
    """Adds what the Python files among some files import, directly or through other modules.

    Only `import` statements are followed: a module that is named in a string has to be imported somewhere as well.

    Args:
        files: by their names relative to `model_patching` ("data/schema.py").
        roots: folder of each top package.

    Raises:
        ValueError: a module of this project is imported that doesn't exist.
        SyntaxError: a source file doesn't parse.
    """
    files = dict(files)
    waiting = [name for name in files if name.endswith(".py")]
    while waiting:
        name = waiting.pop()
        for imported, path in _imported_files(name, files[name], roots):
            if imported not in files:
                files[imported] = path
                waiting.append(imported)
    return files


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
