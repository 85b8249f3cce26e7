import json
import threading

import pytest

from model_patching.data.build import BuildError, build_folder, inputs_fingerprint, source_hash

INPUTS = {"seed": 1}


def write(folder):
    (folder / "train").mkdir()
    (folder / "train" / "data").write_text("12345")
    return {"counts": 5}


def never(folder):
    raise AssertionError("built again")


def test_the_manifest_has_inputs_content_and_sizes(tmp_path):
    manifest = build_folder(tmp_path / "new" / "out", INPUTS, write)
    assert manifest == {"inputs": INPUTS, "counts": 5, "files": {"train/data": 5}}
    assert json.loads((tmp_path / "new/out/manifest.json").read_text()) == manifest
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_a_finished_folder_is_left_untouched(tmp_path):
    out = tmp_path / "out"
    first = build_folder(out, INPUTS, write)
    times = {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]}
    assert build_folder(out, INPUTS, never) == first
    assert {path: path.stat().st_mtime_ns for path in [out, *out.rglob("*")]} == times


def test_a_failing_build_leaves_nothing(tmp_path):
    def fail(folder):
        write(folder)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        build_folder(tmp_path / "out", INPUTS, fail)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_does_not_get_into_the_next(tmp_path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "junk").write_text("half")
    assert list(build_folder(tmp_path / "out", INPUTS, write)["files"]) == ["train/data"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    build_folder(tmp_path / "out", INPUTS, write)
    assert (tmp_path / "out" / "train" / "data").exists()


@pytest.mark.parametrize("damage", ["inputs", "missing", "grown", "foreign", "manifest"])
def test_a_folder_with_something_else_is_refused_and_kept(tmp_path, damage):
    out = tmp_path / "out"
    build_folder(out, INPUTS, write)
    inputs = INPUTS
    if damage == "inputs":
        inputs = {"seed": 2}
    elif damage == "missing":
        (out / "train" / "data").unlink()
    elif damage == "grown":
        (out / "train" / "data").write_text("123456")
    elif damage == "foreign":
        (out / "thesis.txt").write_text("mine")
    else:
        (out / "manifest.json").write_text("{")
    before = sorted(out.rglob("*"))
    with pytest.raises(BuildError, match="remove it or give another folder") as caught:
        build_folder(out, inputs, never)
    assert str(out) in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(out.rglob("*")) == before


def test_the_builders_own_damaged_folder_is_built_anew(tmp_path):
    out = tmp_path / f"mnist-{inputs_fingerprint(INPUTS)}"
    first = build_folder(out, INPUTS, write)
    (out / "train" / "data").unlink()
    assert build_folder(out, INPUTS, write) == first
    assert (out / "train" / "data").read_text() == "12345"


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(BuildError, match="is a file"):
        build_folder(tmp_path / "out", INPUTS, never)


def test_two_builders_take_turns(tmp_path):
    entered, leave, calls = threading.Event(), threading.Event(), []

    def slow(folder):
        calls.append("slow")
        entered.set()
        assert leave.wait(10)
        return write(folder)

    first = threading.Thread(target=build_folder, args=(tmp_path / "out", INPUTS, slow))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(
        target=build_folder, args=(tmp_path / "out", INPUTS, lambda _: calls.append("second"))
    )
    second.start()
    second.join(0.2)
    assert second.is_alive()
    leave.set()
    first.join(10)
    second.join(10)
    assert calls == ["slow"] and (tmp_path / "out" / "manifest.json").exists()


def test_source_hash_sees_an_edit(tmp_path):
    source = tmp_path / "a.py"
    source.write_text("1")
    before = source_hash([source])
    source.write_text("2")
    assert source_hash([source]) != before
