"""Reads how long the earlier nodes of a run took, from the file that the pipeline's runner keeps.

ML Metadata has these times too, but an executor has no connection to it.
"""

import json

import tensorflow as tf


def read_timings(folder: str, run_id: str) -> dict[str, float | None]:
    """Reads `<folder>/<run_id>.json`: {node: {"seconds": number, "cached": whether it was served from the cache}}.

    Args:
        folder: local or remote; empty for runners that keep no times.
        run_id: of the pipeline run.

    Returns:
        Seconds of each node in the file's order; None for one from the cache, where only the look-up was timed. Empty
        without a file.

    Raises:
        ValueError: the file isn't what is written above.
    """
    file = f"{folder}/{run_id}.json"
    if not folder or not tf.io.gfile.exists(file):
        return {}
    try:
        with tf.io.gfile.GFile(file) as stream:
            nodes = json.load(stream)
        return {node: None if entry["cached"] else float(entry["seconds"]) for node, entry in nodes.items()}
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} has no node timings: {error!r}") from error
