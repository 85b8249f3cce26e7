"""Runs the CycleGAN's training on TFX artifacts."""

from typing import Any

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.cyclegan_trainer.train import train
from model_patching.components.tracking import TrackingSettings, open_tracker
from model_patching.data.dataset import Dataset


class Executor(base_executor.BaseExecutor):
    """Executor of `CycleGANTrainer`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains on the split `train` of the examples.

        Args:
            input_dict: `examples`, one artifact.
            output_dict: `model` and `model_run`, one artifact each.
            exec_properties: `settings`, `dataset` and `tracking` as JSON, and `seed`.

        Raises:
            ValueError: see `train`.
        """
        settings = CycleGANTrainerSettings.model_validate_json(exec_properties["settings"])
        dataset = Dataset.model_validate_json(exec_properties["dataset"])
        tracking = TrackingSettings.model_validate_json(exec_properties["tracking"])
        train_dir = artifact_utils.get_split_uri(input_dict["examples"], "train")
        model_run_dir = artifact_utils.get_single_uri(output_dict["model_run"])
        tracker = open_tracker(
            tracking,
            name="CycleGANTrainer",
            config=settings.model_dump(mode="json"),
            directory=model_run_dir,
        )
        try:
            train(
                train_paths=tf.io.gfile.glob(f"{train_dir}/*"),
                dataset=dataset,
                settings=settings,
                seed=exec_properties["seed"],
                model_dir=artifact_utils.get_single_uri(output_dict["model"]),
                model_run_dir=model_run_dir,
                tracker=tracker,
            )
        finally:
            tracker.finish()
