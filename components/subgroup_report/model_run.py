"""Reads what the trainers leave in their ModelRun artifacts: `training.json`, and the translators' sample sheets."""

import json
import re
from typing import Any

import tensorflow as tf

from model_patching.components.subgroup_report.report import Sheet
from model_patching.data.dataset import Dataset


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


def read_sheets(path: str, dataset: Dataset, latest: int) -> list[Sheet]:
    """The latest sample sheets of one translator model, the newest first.

    Args:
        path: folder of its ModelRun artifact; its `sheets/` may be missing or empty.
        dataset: names the classes.
        latest: how many at most.
    """
    if not latest or not tf.io.gfile.isdir(f"{path}/sheets"):
        return []
    label = read_training(path).get("label")
    model = "all classes" if label is None else dataset.classes[label]
    names = [name for name in tf.io.gfile.listdir(f"{path}/sheets") if name.endswith(".png")]
    names.sort(key=_number_order)
    return [
        _read_sheet(f"{path}/sheets/{name}", f"{model}, {name[:-4]}") for name in names[: -latest - 1 : -1]
    ]


def _read_sheet(file: str, title: str) -> Sheet:
    with tf.io.gfile.GFile(file, "rb") as stream:
        return Sheet(title=title, png=stream.read())


def _number_order(name: str) -> list[tuple[bool, int, str]]:
    """Sorts "step-900" before "step-1200"."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
