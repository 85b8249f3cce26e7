"""What TFX's Trainer calls.

Keep classes out of this module: TFX loads it anew for each call.
"""

import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.robust_trainer.train import train
from model_patching.components.tracking import TrackingSettings, open_tracker
from model_patching.data.dataset import Dataset


def run_fn(fn_args: FnArgs) -> None:
    """Trains the classifier.

    Args:
        fn_args: TFX's arguments; `custom_config` as `robust_trainer` makes it.

    Raises:
        ValueError: see `train`.
    """
    custom = fn_args.custom_config
    settings = RobustTrainerSettings.model_validate_json(custom["settings"])
    tracker = open_tracker(
        TrackingSettings.model_validate_json(custom["tracking"]),
        name=custom["node_id"],
        config=settings.model_dump(mode="json"),
        directory=fn_args.model_run_dir,
    )
    try:
        train(
            train_paths=_files(fn_args.train_files),
            validation_paths=_files(fn_args.eval_files),
            dataset=Dataset.model_validate_json(custom["dataset"]),
            settings=settings,
            seed=custom["seed"],
            model_dir=fn_args.serving_model_dir,
            model_run_dir=fn_args.model_run_dir,
            tracker=tracker,
        )
    finally:
        tracker.finish()


def _files(patterns: list[str]) -> list[str]:
    """The files behind TFX's patterns."""
    return [path for pattern in patterns for path in tf.io.gfile.glob(pattern)]
