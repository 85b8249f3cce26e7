"""What TFX's Trainer calls.

Keep classes out of this module: TFX loads it anew for each call.
"""

import os

import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from model_patching.components.checkpoint import file_marks, fingerprint
from model_patching.components.robust_trainer.job import Job, run_job, run_job_with_workers
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.tracking import TrackingSettings
from model_patching.components.versions import versions
from model_patching.data.dataset import Dataset


def run_fn(fn_args: FnArgs) -> None:
    """Trains the classifier.

    Args:
        fn_args: TFX's arguments; `custom_config` as `robust_trainer` makes it.

    Raises:
        ValueError: see `train`.
    """
    custom = fn_args.custom_config
    train_paths, validation_paths = _files(fn_args.train_files), _files(fn_args.eval_files)
    settings = RobustTrainerSettings.model_validate_json(custom["settings"])
    # What decides the weights decides where the checkpoints are.
    mark = fingerprint(
        **{key: custom[key] for key in ("dataset", "seed", "weights_file", "code_hash")},
        settings=settings.model_dump(mode="json", exclude={"seed", "cache_gib", "log_every"}),
        versions=versions(),
        files=file_marks([*train_paths, *validation_paths]),
    )
    job = Job(
        node_id=custom["node_id"],
        train_paths=train_paths,
        validation_paths=validation_paths,
        dataset=Dataset.model_validate_json(custom["dataset"]),
        settings=settings,
        seed=custom["seed"],
        checkpoints_dir=f"{custom['checkpoints_dir']}/{mark}",
        model_dir=fn_args.serving_model_dir,
        model_run_dir=fn_args.model_run_dir,
        tracking=TrackingSettings.model_validate_json(custom["tracking"]),
    )
    if job.settings.strategy == "multi_worker":
        run_job_with_workers(job, os.path.dirname(custom["checkpoints_dir"]))
    else:
        run_job(job)
    if tf.io.gfile.exists(job.checkpoints_dir):
        tf.io.gfile.rmtree(job.checkpoints_dir)


def _files(patterns: list[str]) -> tuple[str, ...]:
    """The files behind TFX's patterns."""
    return tuple(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
