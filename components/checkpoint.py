"""Checkpoints of a training that may be killed at any moment and then goes on to the same weights."""

import hashlib
import json
import logging
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class Checkpoints:
    """The last two checkpoints of a training: its variables and what else it has to remember, as one unit.

    TensorFlow writes a checkpoint beside the older one and makes it the last one when it is whole, so a process that is
    killed while it writes leaves the one before. What was damaged later is found by the checksums of the tensors.
    """

    def __init__(self, folder: str, variables: Sequence[tf.Variable]):
        """Looks at what is there already; writes nothing.

        Args:
            folder: local or remote; it need not exist.
            variables: of any shapes and dtypes, in the same order whenever the training starts.
        """
        self._state = _JsonState()
        self._checkpoint = tf.train.Checkpoint(variables=list(variables), state=self._state)
        self._manager = tf.train.CheckpointManager(self._checkpoint, folder, max_to_keep=2)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes the variables as they are now, and a JSON-ready state; removes all but the last two."""
        self._state.value = state
        self._manager.save(checkpoint_number=step)

    def restore(self) -> dict[str, Any] | None:
        """Puts the last whole checkpoint's values into the variables.

        Returns:
            Its state, or None where there is no checkpoint; the variables are untouched then.
        """
        for path in reversed(self._manager.checkpoints):
            # Everything is read before anything is assigned: half of a damaged checkpoint must not stay behind.
            if not _is_whole(path):
                logging.warning("%s is damaged, going back to the one before", path)
                continue
            self._checkpoint.restore(path).assert_consumed()
            return self._state.value
        return None


def fingerprint(**parts: Any) -> str:
    """16 hexadecimal digits that stand for JSON-ready values, whatever the order of their keys."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_marks(paths: Sequence[str]) -> list[list]:
    """Name, bytes and time of change of each file, sorted: tells files that were replaced from those that weren't."""
    marks = [(path, tf.io.gfile.stat(path)) for path in sorted(paths)]
    return [[path, mark.length, mark.mtime_nsec] for path, mark in marks]


class _JsonState(tf.train.experimental.PythonState):
    """A JSON-ready value that goes into the checkpoint beside the variables."""

    def __init__(self):
        self.value: dict[str, Any] = {}

    def serialize(self) -> str:
        return json.dumps(self.value)

    def deserialize(self, string_value: str) -> None:
        self.value = json.loads(string_value)


def _is_whole(path: str) -> bool:
    """Whether every tensor of a checkpoint can be read; TensorFlow compares each with its checksum."""
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception:  # one of many kinds, by what is damaged
        return False
    return True
