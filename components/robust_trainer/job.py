"""One training as a file, so that other processes can take part in it."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import tensorflow as tf

from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.train import train
from model_patching.components.tracking import NoTracker, TrackingSettings, open_tracker
from model_patching.data.dataset import Dataset
from model_patching.data.settings import Settings

FILE = "job.json"


class Job(Settings):
    """The arguments of a training; see `train`.

    Attributes:
        node_id: names the tracker's run.
        tracking: where the curves go.
    """

    node_id: str
    train_paths: tuple[str, ...]
    validation_paths: tuple[str, ...]
    dataset: Dataset
    settings: RobustTrainerSettings
    seed: int
    checkpoints_dir: str
    model_dir: str
    model_run_dir: str
    tracking: TrackingSettings

    def run(self) -> None:
        """Trains in this process. Raises: see `train`."""
        tracker = NoTracker() if _task_index() else self._open_tracker()
        try:
            train(
                train_paths=self.train_paths,
                validation_paths=self.validation_paths,
                dataset=self.dataset,
                settings=self.settings,
                seed=self.seed,
                checkpoints_dir=self.checkpoints_dir,
                model_dir=self.model_dir,
                model_run_dir=self.model_run_dir,
                tracker=tracker,
            )
        finally:
            tracker.finish()

    def run_with_workers(self, folder: str) -> None:
        """Trains in a process of its own, together with those of the other workers.

        TensorFlow must be told of the workers before anything else, which is too late in this process. The others find
        the job in `folder`, see `work`.

        Raises:
            ValueError: the training failed; what it said is on stderr.
        """
        path = f"{folder}/{FILE}"
        tf.io.gfile.makedirs(folder)
        with tf.io.gfile.GFile(path, "w") as file:
            file.write(self.model_dump_json())
XX
