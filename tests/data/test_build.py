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


def test_a_link_to_an_empty_folder_leads_to_the_filled_one(tmp_path):
    (tmp_path / "disk" / "records").mkdir(parents=True)
    link = tmp_path / "out"
    link.symlink_to("disk/records")
    first = build_folder(link, INPUTS, write)
    assert link.is_symlink() and (tmp_path / "disk/records/train/data").exists()
    assert build_folder(link, INPUTS, never) == first
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["records"]


@pytest.mark.parametrize("output", [".", ".."])
def test_the_current_folder_is_refused_before_the_work(tmp_path, monkeypatch, output):
    (tmp_path / "a" / "b").mkdir(parents=True)
    # The folder above is empty but for this one when it is the builder's own.
    monkeypatch.chdir(tmp_path / "a" / "b")
    parent = (tmp_path / "a").rename(tmp_path / inputs_fingerprint(INPUTS))
    with pytest.raises(
        BuildError, match="is or holds the current folder, .*; give a folder below it"
    ) as caught:
        build_folder(parent / "b" / output, INPUTS, never)
    assert "\n" not in str(caught.value)
    build_folder(parent / "b" / "out", INPUTS, write)


def test_a_mount_point_is_refused_before_the_work(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: path == out)
    with pytest.raises(BuildError, match="out is a mount point, .*; give a folder below it$"):
        build_folder(out, INPUTS, never)
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_user_puts_beside_the_splits_does_no_harm(tmp_path):
    out = tmp_path / "out"
    first = build_folder(out, INPUTS, write)
    (out / "contact_sheet.png").write_text("png")
    build_folder(out / "waterbirds", {"seed": 2}, write)
    before = sorted(out.rglob("*"))
    assert build_folder(out, INPUTS, never) == first
    assert sorted(out.rglob("*")) == before


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
        (out / "test").mkdir()
        (out / "test" / "data").write_text("of another data set")
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


def test_three_builders_of_a_folder_never_build_at_once(tmp_path):
    # The first removes the lock for which the second waits; the third comes after that and makes another.
    building, most, lock = [], [], threading.Lock()
    begun = [threading.Event() for _ in range(3)]

    def build(number):
        def slow_failure(folder):
            with lock:
                building.append(number)
                most.append(len(building))
            begun[number].set()
            threading.Event().wait(0.1)
            building.remove(number)
            raise RuntimeError("so that the next one builds too")

        with pytest.raises(RuntimeError, match="the next one"):
            build_folder(tmp_path / "out", INPUTS, slow_failure)

    threads = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    threads[0].start()
    assert begun[0].wait(10)
    threads[1].start()
    threads[0].join(10)
    threads[2].start()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1, 1]
    assert list(tmp_path.iterdir()) == []


def test_builders_of_other_folders_do_not_wait(tmp_path):
    def write_both(folder):
        inner = threading.Thread(target=build_folder, args=(tmp_path / "other", INPUTS, write))
        inner.start()
        inner.join(10)
        assert (tmp_path / "other" / "manifest.json").exists()
        return write(folder)

    build_folder(tmp_path / "out", INPUTS, write_both)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_a_finished_folder_needs_no_lock(tmp_path):
    first = build_folder(tmp_path / "out", INPUTS, write)
    before = tmp_path.stat().st_mtime_ns
    assert build_folder(tmp_path / "out", INPUTS, never) == first
    assert tmp_path.stat().st_mtime_ns == before


def test_source_hash_sees_an_edit(tmp_path):
    source = tmp_path / "a.py"
    source.write_text("1")
    before = source_hash([source])
    source.write_text("2")
    assert source_hash([source]) != before
