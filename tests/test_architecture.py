"""Which part may import which, read from the sources without running them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "model_patching"
FOLDERS = ("pipelines", "components", "data")  # each may import itself and what comes after it
TFX_FILES = ("component.py", "executor.py", "run_fn.py")
# TensorFlow, and what loads it. Seconds each, so the command line leaves them until it runs something.
HEAVY = {
    "apache_beam",
    "keras",
    "tensorflow",
    "tensorflow_data_validation",
    "tensorflow_model_analysis",
    "tensorflow_transform",
    "tfx",
    "tfx_bsl",
}


def module_name(path: Path, root: Path) -> str:
    """Returns e.g. "model_patching.data.schema" for data/schema.py and "model_patching.data" for its __init__.py."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join((PACKAGE, *(part for part in parts if part != "__init__")))


def imported(node: ast.AST, path: Path, root: Path) -> Iterator[str]:
    """Yields the absolute names that one import statement names: "a.b" and "a.b.c" for `from a.b import c`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = module_name(path.with_name("__init__.py"), root).split(".")
            base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields what runs when a module is imported: everything but the bodies of functions and type-checking blocks."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING"):
            yield from statements(statement.orelse)
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from statements(getattr(statement, name, []))
        for handler in getattr(statement, "handlers", []):
            yield from statements(handler.body)


def import_violations(root: Path) -> list[str]:
    """Returns a line for each import in the three folders that points the wrong way, or at TFX where it may not."""
    found = []
    for position, folder in enumerate(FOLDERS):
        for path in sorted((root / folder).rglob("*.py")):
            place = path.relative_to(root)
            may_use_tfx = folder == "pipelines" or (len(place.parts) == 3 and place.name in TFX_FILES)
            for node in ast.walk(ast.parse(path.read_text())):
                for name in imported(node, path, root):
                    top, _, rest = name.partition(".")
                    if top in FOLDERS:
                        found.append(f"{place}:{node.lineno} imports {name} without {PACKAGE}.")
                    if top == PACKAGE and rest.split(".")[0] in FOLDERS[:position]:
                        found.append(f"{place}:{node.lineno} imports {name}, against the direction")
                    if top == "tfx" and not may_use_tfx:
                        found.append(f"{place}:{node.lineno} imports {name}, TFX in the wrong place")
    return found


def heavy_imports(start: str, root: Path) -> list[str]:
    """Returns a line for each heavy import that importing the module `start` leads to within the project."""
    files = {module_name(path, root): path for folder in FOLDERS for path in (root / folder).rglob("*.py")}
    found, seen, waiting = [], set(), [start]
    while waiting:
        module = waiting.pop()
        if module in seen or module not in files:
            continue
        seen.add(module)
        waiting.append(module.rpartition(".")[0])  # a package's __init__.py runs before its modules
        path = files[module]
        for statement in statements(ast.parse(path.read_text()).body):
            for name in imported(statement, path, root):
                waiting.append(name)
                if name.partition(".")[0] in HEAVY:
                    found.append(f"{path.relative_to(root)}:{statement.lineno} imports {name}")
    assert start in seen, f"{start} is not in the project"
    return found


def test_imports_point_one_way_and_tfx_stays_at_the_edge() -> None:
    assert import_violations(ROOT) == []


def test_the_command_line_starts_without_tfx_and_tensorflow() -> None:
    assert heavy_imports(f"{PACKAGE}.pipelines.cli", ROOT) == []


@pytest.mark.parametrize("module", ["compare_runs", "evaluate_predictions", "find_run"])
def test_a_command_that_runs_nothing_does_without_them(module: str) -> None:
    assert heavy_imports(f"{PACKAGE}.pipelines.{module}", ROOT) == []


def write(root: Path, sources: dict[str, str]) -> None:
    for name, source in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        ("data/a.py", "import model_patching.components.node", "against the direction"),
        ("data/a.py", "from model_patching import pipelines", "against the direction"),
        ("data/sub/a.py", "from ...components import node", "against the direction"),
        (
            "components/node/a.py",
            "def f():\n    from model_patching.pipelines import config",
            "against the direction",
        ),
        ("components/a.py", "from .. import pipelines", "against the direction"),
        ("components/node/a.py", "from components.node import b", "without model_patching."),
        ("pipelines/a.py", "import data.schema", "without model_patching."),
        ("components/node/train.py", "from tfx import v1 as tfx", "TFX in the wrong place"),
        ("components/node/train.py", "def f():\n    import tfx.types", "TFX in the wrong place"),
        ("components/executor.py", "import tfx", "TFX in the wrong place"),
        ("components/node/deeper/executor.py", "import tfx", "TFX in the wrong place"),
        ("data/executor.py", "import tfx", "TFX in the wrong place"),
    ],
)
def test_a_wrong_import_is_reported(tmp_path: Path, name: str, source: str, says: str) -> None:
    write(tmp_path, {name: source})
    violations = import_violations(tmp_path)
    assert violations
    assert all(violation.startswith(f"{name}:") and says in violation for violation in violations)


def test_right_imports_are_not_reported(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "data/a.py": "import tensorflow as tf\nfrom . import b\nfrom model_patching.data import c",
            "components/a.py": "import tfx_bsl\nfrom ..data import a\nfrom .node import data",
            "components/node/run_fn.py": "from tfx import v1",
            "pipelines/a.py": "import tfx\nfrom model_patching.components.node import run_fn\nimport database",
        },
    )
    assert import_violations(tmp_path) == []


@pytest.mark.parametrize(
    "sources",
    [
        {"pipelines/cli.py": "import tfx"},
        {"pipelines/cli.py": "try:\n    import tensorflow as tf\nexcept ImportError:\n    pass"},
        {"pipelines/cli.py": "", "pipelines/__init__.py": "from keras import layers"},
        {
            "pipelines/cli.py": "from model_patching.pipelines import a",
            "pipelines/a.py": "from tfx import v1",
        },
        {
            "pipelines/cli.py": "from .a import thing",
            "pipelines/a.py": "import model_patching.data.b",
            "data/b.py": "if True:\n    import tensorflow.data",
        },
        {
            "pipelines/cli.py": "from model_patching.data.b import c",
            "data/b.py": "",
            "data/__init__.py": "import apache_beam",
        },
    ],
)
def test_a_heavy_import_is_found(tmp_path: Path, sources: dict[str, str]) -> None:
    write(tmp_path, sources)
    assert len(heavy_imports(f"{PACKAGE}.pipelines.cli", tmp_path)) >= 1


def test_late_and_type_checking_imports_are_not_heavy(tmp_path: Path) -> None:
    late = "def f():\n    import tfx\n    from model_patching.pipelines import a\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tensorflow\n"
    write(tmp_path, {"pipelines/cli.py": late + typed, "pipelines/a.py": "import tfx"})
    assert heavy_imports(f"{PACKAGE}.pipelines.cli", tmp_path) == []
