"""One training as a file, so that the processes of other workers can take part in it."""

import os
import subprocess
import sys
import threading
import time

import tensorflow as tf

from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.strategy import is_first_worker
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
    if job.settings.strategy == "multi_worker" and not is_first_worker():
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
    with tf.io.gfile.GFile(f"{path}.part", "w") as file:
        file.write(job.model_dump_json())
    tf.io.gfile.rename(f"{path}.part", path, overwrite=True)
    try:
        _run_in_process(path)
    finally:
        tf.io.gfile.remove(path)


def join_job(folder: str) -> None:
    """Takes part in the training whose job is, or will be, in `folder`, as another worker than the first.

    Raises:
        ValueError: TF_CONFIG says that this is the first worker, or the training failed.
    """
    if is_first_worker():
        raise ValueError(
            "TF_CONFIG must name a worker other than the first (the chief, or index 0): that one runs the pipeline"
        )
    path = f"{folder}/{FILE}"
    while not tf.io.gfile.exists(path):
        time.sleep(POLL)
    _run_in_process(path)


def _run_in_process(path: str) -> None:
    command = [sys.executable, "-m", "model_patching.components.robust_trainer.job", path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        last = ""
        for line in process.stderr:
            sys.stderr.write(line)
            last = line.strip() or last
        process.wait()
    if process.returncode:
        raise ValueError(last.removeprefix("ValueError: ") or f"exit code {process.returncode}")


def _end_with_parent() -> None:
    """Ends this process once the one that started it is gone, which must not leave a training behind."""

    def wait() -> None:
        sys.stdin.read()  # ends when the parent does
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _end_with_parent()
    with tf.io.gfile.GFile(sys.argv[1]) as job_file:
        run_job(Job.model_validate_json(job_file.read()))
