import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.checkpoint import Checkpoints, file_marks, fingerprint


def variables():
    return [tf.Variable(tf.zeros([40, 30])), tf.Variable(0, dtype=tf.int64)]


def assign(held, value):
    held[0].assign(tf.fill([40, 30], float(value)))
    held[1].assign(value)


def values(held):
    return float(held[0].numpy().min()), float(held[0].numpy().max()), int(held[1])


@pytest.fixture
def saved(tmp_path):
    """A folder with checkpoints of steps 1, 2 and 3."""
    held = variables()
    checkpoints = Checkpoints(str(tmp_path / "run"), held)
    for step in (1, 2, 3):
        assign(held, step)
        checkpoints.save(step, {"step": step, "curve": [0.5] * step})
    return tmp_path / "run"


def test_nothing_to_restore(tmp_path):
    held = variables()
    assign(held, 7)
    assert Checkpoints(str(tmp_path / "none"), held).restore() is None
    assert values(held) == (7, 7, 7)
    assert not (tmp_path / "none").exists()


def test_restores_the_last_and_keeps_two(saved):
    held = variables()
    assert Checkpoints(str(saved), held).restore() == {"step": 3, "curve": [0.5] * 3}
    assert values(held) == (3, 3, 3)
    assert sorted({path.name.partition(".")[0] for path in saved.iterdir()}) == [
        "checkpoint",
        "ckpt-2",
        "ckpt-3",
    ]


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "one bit":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut off", "missing", "empty", "one bit"])
@pytest.mark.parametrize("part", ["data-00000-of-00001", "index"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(saved, part, how):
    damage(saved / f"ckpt-3.{part}", how)
    held = variables()
    checkpoints = Checkpoints(str(saved), held)
    assert checkpoints.restore()["step"] == 2
    assert values(held) == (2, 2, 2)
    # And the training goes on from there.
    assign(held, 3)
    checkpoints.save(3, {"step": 3})
    assert Checkpoints(str(saved), held).restore() == {"step": 3}


def test_with_all_damaged_nothing_is_touched(saved):
    for step in (2, 3):
        damage(saved / f"ckpt-{step}.data-00000-of-00001", "one bit")
    held = variables()
    assign(held, 7)
    assert Checkpoints(str(saved), held).restore() is None
    assert values(held) == (7, 7, 7)


def test_variables_of_another_shape_are_an_error(saved):
    with pytest.raises(ValueError, match="shape"):
        Checkpoints(str(saved), [tf.Variable(tf.zeros([2])), tf.Variable(0, dtype=tf.int64)]).restore()


def test_killed_at_any_moment_a_whole_one_is_left(tmp_path):
    """A process saves without a pause; whenever it is killed, what can be restored is of one step."""
    script = tmp_path / "save.py"
    script.write_text(
        textwrap.dedent("""
        import sys, itertools, tensorflow as tf
        from model_patching.components.checkpoint import Checkpoints
        held = [tf.Variable(tf.zeros([300, 1000])) for _ in range(4)]
        checkpoints = Checkpoints(sys.argv[1], held)
        start = (checkpoints.restore() or {"step": 0})["step"]
        for step in itertools.count(start + 1):
            for variable in held:
                variable.assign(tf.fill([300, 1000], float(step)))
            checkpoints.save(step, {"step": step})
            print(step, flush=True)
        """)
    )
    folder = str(tmp_path / "run")
    reached = 0
    for wait in (0.0, 0.013, 0.029):
        process = subprocess.Popen(
            [sys.executable, str(script), folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert int(process.stdout.readline()) == reached + 1
        process.stdout.readline()
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.communicate()[0].split()
        held = [tf.Variable(tf.zeros([300, 1000])) for _ in range(4)]
        state = Checkpoints(folder, held).restore()
        last_told = int(rest[-1]) if rest else reached + 2
        assert state["step"] in (last_told, last_told + 1)
        for variable in held:
            assert np.all(variable.numpy() == state["step"])
        reached = state["step"]


def test_fingerprints():
    assert fingerprint(a=1, b={"x": 1, "y": 2}) == fingerprint(b={"y": 2, "x": 1}, a=1)
    prints = {fingerprint(a=1), fingerprint(a=2), fingerprint(b=1), fingerprint(a="1"), fingerprint(a=[1])}
    assert len(prints) == 5


def test_file_marks_tell_a_replaced_file(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text("text")
    paths = [str(tmp_path / name) for name in ("b", "a")]
    before = file_marks(paths)
    assert before == file_marks(paths[::-1])
    os.utime(tmp_path / "a", (1, 1))
    assert file_marks(paths) != before
