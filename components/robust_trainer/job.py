"""One training as a file, so that the processes of other workers can take part in it."""

import json
import os
import subprocess
import sys
import time

import tensorflow as tf

from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.train import train
from model_patching.components.tracking import NoTracker, TrackingSettings, open_tracker
from model_patching.data.dataset import Dataset
from model_patching.data.settings import Settings

FILE = "job.json"
POLL = 2.0  # seconds between two looks for it


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


def run_job(job: Job) -> None:
    """Trains in this process; of several workers the first one alone is tracked. Raises: see `train`."""
    if _worker_index():
        tracker = NoTracker()
    else:
        tracker = open_tracker(
            job.tracking,
            name=job.node_id,
            config=job.settings.model_dump(mode="json"),
            directory=job.model_run_dir,
        )
    try:
        train(
            train_paths=job.train_paths,
            validation_paths=job.validation_paths,
            dataset=job.dataset,
            settings=job.settings,
            seed=job.seed,
            checkpoints_dir=job.checkpoints_dir,
            model_dir=job.model_dir,
            model_run_dir=job.model_run_dir,
            tracker=tracker,
        )
    finally:
        tracker.finish()


def run_job_with_workers(job: Job, folder: str) -> None:
    """Trains in a process of its own, as the first worker; the others find the job in `folder`, see `join_job`.

    TensorFlow must be told of the workers before anything else, which is too late in the process of a pipeline.

    Raises:
        ValueError: the training failed; the message is its last line.
    """
    path = f"{folder}/{FILE}"
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(job.model_dump_json())
    try:
        _run_in_process(path)
    finally:
        tf.io.gfile.remove(path)


def join_job(folder: str) -> None:
    """Takes part in the training whose job is, or will be, in `folder`, as another worker than the first.

    Raises:
        ValueError: TF_CONFIG says that this is the first worker, or the training failed.
    """
    if not _worker_index():
        raise ValueError(
            "TF_CONFIG must name a worker with an index of 1 or more; the first one runs the pipeline"
        )
    path = f"{folder}/{FILE}"
    while not tf.io.gfile.exists(path):
        time.sleep(POLL)
    _run_in_process(path)


def _run_in_process(path: str) -> None:
    command = [sys.executable, "-m", "model_patching.components.robust_trainer.job", path]
    finished = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(finished.stderr)
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"]
        raise ValueError(lines[-1].removeprefix("ValueError: "))


def _worker_index() -> int:
    """Which of several workers this process is; 0 for the first or only one."""
    return int(json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {}).get("index", 0))


if __name__ == "__main__":
    with tf.io.gfile.GFile(sys.argv[1]) as job_file:
        run_job(Job.model_validate_json(job_file.read()))
