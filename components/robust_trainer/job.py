"""One training as a file, so that the processes of other workers can take part in it."""

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from typing import Annotated

import tensorflow as tf
from pydantic import Field

from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.strategy import is_first_worker
from model_patching.components.robust_trainer.train import train
from model_patching.components.tracking import NoTracker, TrackingSettings, open_tracker
from model_patching.data.dataset import Dataset
from model_patching.data.settings import Settings

FILE = "job.json"
FAILURE_FILE = "job.failed"  # number of a job, and why another worker can't take part in it
POLL = 2.0  # seconds between two looks for it
END_GRACE = 60.0  # seconds that a worker may take to end after the first one
FAILURE_GRACE = 10.0  # seconds that the first worker may take to fail for a reason of its own


class Job(Settings):
    """The arguments of a training; see `train`.

    Attributes:
        number: tells a training that was begun anew from the one before it.
        node_id: names the tracker's run.
        tracking: where the curves go.
    """

    number: Annotated[str, Field(default_factory=lambda: uuid.uuid4().hex)]
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
        ValueError: the training failed, here or at another worker; the message is its last line.
    """
    path, failure = f"{folder}/{FILE}", f"{folder}/{FAILURE_FILE}"

    def failed_elsewhere() -> tuple[str, float] | None:
        number, _, reason = (_read(failure) or "").partition(" ")
        return (f"another worker: {reason}", FAILURE_GRACE) if number == job.number else None

    text = job.model_dump_json()
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(f"{path}.part", "w") as file:
        file.write(text)
    tf.io.gfile.rename(f"{path}.part", path, overwrite=True)
    try:
        _run_in_process(text, failed_elsewhere)
    finally:
        for left in (path, failure):
            with contextlib.suppress(tf.errors.NotFoundError):
                tf.io.gfile.remove(left)


def serve_jobs(folder: str) -> None:
    """Takes part in one training after the other, as another worker than the first, until it is stopped.

    When a training fails here, the first worker is told, and the next training waited for.

    Args:
        folder: where the first worker puts its jobs.

    Raises:
        ValueError: TF_CONFIG says that this is the first worker.
    """
    if is_first_worker():
        raise ValueError(
            "TF_CONFIG must name a worker other than the first (the chief, or index 0): that one runs the pipeline"
        )
    path = f"{folder}/{FILE}"
    text = None
    while True:
        _say(f"waiting for a training in {folder}")
        text = _next_job(path, text)
        job = Job.model_validate_json(text)
        _say(f"{job.node_id}: taking part")
        try:
            _run_in_process(text, functools.partial(_why_it_is_over, path, text))
        except ValueError as error:
            _say(f"{job.node_id}: {error}")
            # The first worker may be waiting for this one.
            if _read(path) == text:
                with tf.io.gfile.GFile(f"{folder}/{FAILURE_FILE}", "w") as file:
                    file.write(f"{job.number} {error}")
        else:
            _say(f"{job.node_id}: done")


def _next_job(path: str, last: str | None) -> str:
    """Waits for another job than the last."""
    while (text := _read(path)) in (None, last):
        time.sleep(POLL)
    return text


def _why_it_is_over(path: str, text: str) -> tuple[str, float] | None:
    """Why another worker than the first should end its part in a job, and after how many seconds; None as a rule."""
    current = _read(path)
    if current is None:
        return "the first worker has ended", END_GRACE
    # The first worker was killed: this process would take part in the wrong training.
    return None if current == text else ("the first worker has begun another training", 0.0)


def _read(path: str) -> str | None:
    """What is in a file; None if it isn't there or, for the moment, can't be read."""
    try:
        with tf.io.gfile.GFile(path) as file:
            return file.read()
    except tf.errors.OpError:
        return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _run_in_process(text: str, why_end: Callable[[], tuple[str, float] | None]) -> None:
    """Trains in a process of its own.

    Args:
        text: the job.
        why_end: asked again and again; says why the process should end, and after how many seconds it is killed if it
            hasn't by itself.

    Raises:
        ValueError: it failed; the message is why it should end, or its last line where there is no such reason.
    """
    command = [sys.executable, "-m", "model_patching.components.robust_trainer.job"]
    with (
        tempfile.TemporaryDirectory(prefix="model-patching-") as scratch,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Whatever way it ends, its temporary files end with it.
            env={**os.environ, "TMPDIR": scratch},
        ) as process,
    ):
        # Its input stays open: that it ends tells it that this process is gone.
        process.stdin.write(text + "\n")
        process.stdin.flush()
        threading.Thread(target=_watch, args=(process, why_end), daemon=True).start()
        last = ""
        for line in process.stderr:
            sys.stderr.write(line)
            last = line.strip() or last
        process.wait()
    if process.returncode:
        # Where one worker fails TensorFlow ends the others with words that don't say why: that may be still on its way.
        time.sleep(POLL)
        reason = why_end()
        own = last.removeprefix("ValueError: ") or f"exit code {process.returncode}"
        raise ValueError(reason[0] if reason else own)


def _watch(process: subprocess.Popen, why_end: Callable[[], tuple[str, float] | None]) -> None:
    """Kills a process that doesn't end although there is a reason."""
    since = None
    while process.poll() is None:
        reason = why_end()
        if reason is None:
            since = None
        else:
            since = since or time.monotonic()
            if time.monotonic() - since >= reason[1]:
                process.kill()
        time.sleep(POLL)


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
