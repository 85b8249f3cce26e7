"""Reads how the earlier nodes of a run went, from the files that the pipeline's runner keeps.

ML Metadata has all of it too, but an executor has no connection to it.
"""

import json
from typing import Any, NamedTuple

import tensorflow as tf


class Nodes(NamedTuple):
    """The nodes that were done before the report, in their order.

    Attributes:
        timings: seconds of each; None for one from the cache, where only the look-up was timed.
        lineage: `{node, cached, inputs, outputs}` of each; these two are lists of `{id, type, path}`, the artifact's
            number in ML Metadata, its type, and its place relative to the pipeline's folder.
    """

    timings: dict[str, float | None]
    lineage: list[dict[str, Any]]


def read_nodes(folder: str, run_id: str) -> Nodes:
    """Reads `<folder>/<run_id>/<node>.json`: {"seconds", "cached", "ended", "inputs", "outputs"}.

    Args:
        folder: local or remote; empty for runners that keep no such files.
        run_id: of the pipeline run.

    Returns:
        What they say, in the order in which the nodes ended; nothing without files.

    Raises:
        ValueError: a file isn't what is written above.
    """
    entries = []
    for file in tf.io.gfile.glob(f"{folder}/{run_id}/*.json") if folder else []:
        name = file.rsplit("/", 1)[-1].removesuffix(".json")
        try:
            with tf.io.gfile.GFile(file) as stream:
                entry = json.load(stream)
            seconds = None if entry["cached"] else float(entry["seconds"])
            lineage = {"node": name, **{key: entry[key] for key in ("cached", "inputs", "outputs")}}
            entries.append((float(entry["ended"]), name, seconds, lineage))
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{file} doesn't say how the node went: {error!r}") from error
    entries.sort(key=lambda entry: entry[:2])
    return Nodes({name: seconds for _, name, seconds, _ in entries}, [lineage for *_, lineage in entries])
