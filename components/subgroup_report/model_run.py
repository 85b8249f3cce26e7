"""Reads what the trainers leave in their ModelRun artifacts: `training.json`."""

import json
from typing import Any

import tensorflow as tf


def read_training(path: str) -> dict[str, Any]:
    """`training.json` of a ModelRun.

    Args:
        path: folder of the artifact, local or remote.

    Raises:
        ValueError: the file isn't there or isn't JSON.
    """
    file = f"{path}/training.json"
    try:
        with tf.io.gfile.GFile(file) as stream:
            return json.load(stream)
    except (tf.errors.NotFoundError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} can't be read, the trainer must write it: {error}") from error
