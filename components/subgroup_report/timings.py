"""Reads how long the earlier nodes of a run took, from the file that the pipeline's runner keeps.

ML Metadata has these times too, but an executor has no connection to it.
"""

import json

import tensorflow as tf


def read_timings(folder: str, run_id: str) -> tuple[dict[str, float], set[str]]:
    """Reads `<folder>/<run_id>.json`: {node: {"seconds": number, "cached": whether it was served from the cache}}.

    Args:
        folder: local or remote; empty for runners that keep no times.
        run_id: of the pipeline run.

    Returns:
        (seconds of each node in the file's order, the nodes served from the cache). Empty without a file.

    Raises:
        ValueError: the file isn't what is written above.
    """
    file = f"{folder}/{run_id}.json"
    if not folder or not tf.io.gfile.exists(file):
        return {}, set()
    try:
        with tf.io.gfile.GFile(file) as stream:
            nodes = json.load(stream)
        return (
            {node: float(entry["seconds"]) for node, entry in nodes.items()},
            {node for node, entry in nodes.items() if entry["cached"]},
        )
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} has no node timings: {error!r}") from error
