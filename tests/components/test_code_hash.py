import hashlib
from pathlib import Path

import pytest

from model_patching.components.code_hash import code_hash, component_files, hash_files

SOURCES = {
    "components/__init__.py": "",
    "components/shared.py": "from ..data import leaf\n",
    "components/unrelated.py": "",
    "components/node/__init__.py": "",
    "components/node/executor.py": (
        "import os\n"
        "from model_patching.components.node import helper\n"
        "def do():\n"
        "    from model_patching.data.schema import Record\n"
    ),
    "components/node/helper.py": "from ..shared import thing\n",
    "components/node/templates/page.html": "<html>",
    "components/other/__init__.py": "",
    "components/other/executor.py": "import model_patching.data.settings\n",
    "data/__init__.py": "",
    "data/schema.py": "",
    "data/settings.py": "",
    "data/leaf.py": "",
}


def write(folder: Path) -> dict[str, Path]:
    for name, text in SOURCES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {"components": folder / "components", "data": folder / "data"}


def node_hash(roots):
    return hash_files(component_files("node", roots))


def test_the_files_are_the_folders_and_what_it_imports_transitively(tmp_path):
    assert sorted(component_files("node", write(tmp_path))) == [
        "components/__init__.py",
        "components/node/__init__.py",
        "components/node/executor.py",
        "components/node/helper.py",
        "components/node/templates/page.html",
        "components/shared.py",
        "data/__init__.py",
        "data/leaf.py",
        "data/schema.py",
    ]


def test_the_hash_is_over_sorted_names_and_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"yz")
    expected = hashlib.sha256(b"3 d/a 1 x3 d/b 2 yz").hexdigest()
    assert hash_files({"d/b": tmp_path / "b", "d/a": tmp_path / "a"}) == expected


def test_the_place_does_not_count(tmp_path):
    assert node_hash(write(tmp_path / "here")) == node_hash(write(tmp_path / "there"))


@pytest.mark.parametrize(
    "name",
    [
        "components/node/executor.py",
        "components/node/templates/page.html",
        "components/shared.py",
        "data/leaf.py",
        "data/schema.py",
    ],
)
def test_touching_a_part_changes_it(tmp_path, name):
    roots = write(tmp_path)
    before = node_hash(roots)
    with open(tmp_path / name, "a") as file:
        file.write("# edited\n")
    assert node_hash(roots) != before


def test_renaming_a_file_changes_it(tmp_path):
    roots = write(tmp_path)
    before = node_hash(roots)
    page = tmp_path / "components/node/templates/page.html"
    page.rename(page.with_name("other.html"))
    assert node_hash(roots) != before


def test_touching_anything_else_does_not(tmp_path):
    roots = write(tmp_path)
    before = node_hash(roots)
    for name in ("components/other/executor.py", "components/unrelated.py", "data/settings.py"):
        (tmp_path / name).write_text("# edited\n")
    (tmp_path / "components/node/__pycache__").mkdir()
    (tmp_path / "components/node/__pycache__/helper.cpython-311.pyc").write_bytes(b"1")
    (tmp_path / "components/node/.helper.py.swp").write_bytes(b"1")
    assert node_hash(roots) == before


def test_an_import_of_a_missing_module_and_a_missing_folder_are_errors(tmp_path):
    roots = write(tmp_path)
    with pytest.raises(ValueError, match="no component folder 'nothing'"):
        component_files("nothing", roots)
    (tmp_path / "components/node/helper.py").write_text("from model_patching.data.gone import x\n")
    with pytest.raises(ValueError, match="helper.py imports model_patching.data.gone"):
        node_hash(roots)


def test_the_projects_own_components_have_different_hashes():
    assert len(code_hash("augmenter")) == 64
    assert code_hash("augmenter") == code_hash("augmenter")
