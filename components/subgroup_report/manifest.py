"""Reads the manifest of the records that a run began with."""

import json
from typing import Any

import tensorflow as tf

from model_patching.data.build import MANIFEST


def read_manifest(records_dir: str) -> dict[str, Any] | None:
    """The manifest of a folder of records, see `data/build.py`.

    Args:
        records_dir: local or remote.

    Returns:
        None where there is none, or another one than this project's.
    """
    file = f"{records_dir}/{MANIFEST}"
    if not tf.io.gfile.exists(file):
        return None
    try:
        with tf.io.gfile.GFile(file) as stream:
            manifest = json.load(stream)
    except (ValueError, tf.errors.OpError):
        return None
    inputs = manifest.get("inputs") if isinstance(manifest, dict) else None
    is_ours = isinstance(inputs, dict) and isinstance(inputs.get("source", {}), dict)
    return manifest if is_ours else None
