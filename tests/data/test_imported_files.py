import pytest

from model_patching.data.imported_files import module_files


def names(*modules):
    return [path.name for path in module_files(modules)]


def test_the_files_are_the_modules_own_and_those_of_all_that_they_import():
    found = names("model_patching.data.csv_rows")  # imports source.py, and that dataset.py
    assert found == ["__init__.py", "csv_rows.py", "dataset.py", "settings.py", "source.py"]
    both = names("model_patching.data.csv_rows", "model_patching.data.checksums")
    assert set(both) == {*found, "checksums.py"}


def test_imports_inside_functions_count_and_modules_of_others_do_not():
    assert "record_files.py" in names("model_patching.data.records_source")
    assert names("json", "tests.conftest", "model_patching") == []


@pytest.mark.parametrize("module", ["model_patching.data.folder", "model_patching.data.waterbirds"])
def test_readers_bring_what_they_read_with(module):
    assert {"csv_rows.py", "listed_images.py"} <= set(names(module))
