"""One training as a file, so that the processes of other workers can take part in it."""

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid

import tensorflow as tf

from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.strategy import is_first_worker
from model_patching.components.robust_trainer.train import train
from model_patching.components.tracking import NoTracker, TrackingSettings, open_tracker
from model_patching.data.dataset import Dataset
from model_patching.data.settings import Settings

FILE = "job.json"
POLL = 2.0  # seconds between two looks for it
GRACE = 60.0  # seconds that a worker may take to end after the first one


class Job(Settings):
    """The arguments of a training; see `train`.

    Attributes:
        number: of several workers, the same for all that take part in the same training.
        node_id: names the tracker's run.
        tracking: where the curves go.
    """

    number: str = ""
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
    """Trains in a process of its own, as the first worker; the others find the job in `folder`, see `serve_jobs`.

    TensorFlow must be told of the workers before anything else, which is too late in the process of a pipeline.

    Raises:
        ValueError: the training failed; the message is its last line.
    """
    path = f"{folder}/{FILE}"
    # The number tells a training that was begun anew from the one before it.
    text = job.model_copy(update={"number": uuid.uuid4().hex}).model_dump_json()
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(f"{path}.part", "w") as file:
        file.write(text)
    tf.io.gfile.rename(f"{path}.part", path, overwrite=True)
    try:
        _run_in_process(text)
    finally:
        tf.io.gfile.remove(path)


def serve_jobs(folder: str) -> None:
    """Takes part in one training after the other, as another worker than the first, until it is stopped.

    A training that fails is told of in one line, and the next one waited for: the first worker knows more of it, and
    may begin it anew.

    Args:
        folder: has a folder for each node, in which the first worker puts its jobs.

    Raises:
        ValueError: TF_CONFIG says that this is the first worker.
    """
    if is_first_worker():
        raise ValueError(
            "TF_CONFIG must name a worker other than the first (the chief, or index 0): that one runs the pipeline"
        )
    done = set()
    while True:
        path, text = _next_job(folder, done)
        print(f"{path}: taking part", file=sys.stderr, flush=True)
        try:
            _run_in_process(text, path)
        except ValueError as error:
            print(f"{path}: {error}", file=sys.stderr, flush=True)
        done.add(text)


def _next_job(folder: str, done: set[str]) -> tuple[str, str]:
    """Waits for a job that isn't done yet: its path and what it says."""
    while True:
        for path in tf.io.gfile.glob(f"{folder}/*/{FILE}"):
            with contextlib.suppress(tf.errors.NotFoundError):  # it may go at any moment
                text = _read(path)
                if text not in done:
                    return path, text
        time.sleep(POLL)


def _read(path: str) -> str:
    with tf.io.gfile.GFile(path) as file:
        return file.read()


def _run_in_process(text: str, path: str | None = None) -> None:
    """Trains in a process of its own; with `path` no longer than the job is there.

    Raises:
        ValueError: it failed; the message is its last line.
    """
    command = [sys.executable, "-m", "model_patching.components.robust_trainer.job"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # Its input stays open: that it ends tells it that this process is gone.
        process.stdin.write(text + "\n")
        process.stdin.flush()
        if path is not None:
            threading.Thread(target=_end_with_job, args=(process, text, path), daemon=True).start()
        last = ""
        for line in process.stderr:
            sys.stderr.write(line)
            last = line.strip() or last
        process.wait()
    if process.returncode:
        raise ValueError(last.removeprefix("ValueError: ") or f"exit code {process.returncode}")


def _end_with_job(process: subprocess.Popen, text: str, path: str) -> None:
    """Ends a worker's process when the first worker was killed and began anew, or has ended and this one hasn't."""
    gone_since = None
    while process.poll() is None:
        time.sleep(POLL)
        try:
            if _read(path) != text:
                process.kill()
        except tf.errors.NotFoundError:
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since > GRACE:
                process.kill()


def _end_with_parent() -> None:
    """Ends this process once the one that started it is gone, which must not leave a training behind."""

    def wait() -> None:
        sys.stdin.read()  # ends when the parent does
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    received = Job.model_validate_json(sys.stdin.readline())
    _end_with_parent()
    run_job(received)
