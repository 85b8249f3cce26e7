"""Runs the CycleGAN's training on TFX artifacts."""

from typing import Any

import tensorflow as tf
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from model_patching.components.checkpoint import file_marks, fingerprint
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.cyclegan_trainer.train import selected_directions, train, worst
from model_patching.components.tracking import TrackingSettings, open_tracker
from model_patching.components.versions import versions
from model_patching.data.dataset import Dataset


class Executor(base_executor.BaseExecutor):
    """Executor of `CycleGANTrainer`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains on the split `train` of the examples and diagnoses on `validation`.

        The model artifact gets the worst figures of the diagnoses as properties: `translation_flip_rate` and so on.

        Args:
            input_dict: `examples`, one artifact.
            output_dict: `model` and `model_run`, one artifact each.
            exec_properties: `settings`, `dataset` and `tracking` as JSON, `label` (-1 for all classes together),
                `seed`, `translate_batch_size`, `code_hash` and `checkpoints_dir`.

        Raises:
            ValueError: see `train`.
        """
        settings = CycleGANTrainerSettings.model_validate_json(exec_properties["settings"])
        dataset = Dataset.model_validate_json(exec_properties["dataset"])
        tracking = TrackingSettings.model_validate_json(exec_properties["tracking"])
        label = None if exec_properties["label"] < 0 else exec_properties["label"]
        train_paths, validation_paths = (
            tf.io.gfile.glob(f"{artifact_utils.get_split_uri(input_dict['examples'], split)}/*")
            for split in ("train", "validation")
        )
        # What decides the weights decides where the checkpoints are.
        decisive = ("settings", "dataset", "label", "seed", "translate_batch_size", "code_hash")
        mark = fingerprint(
            **{key: exec_properties[key] for key in decisive},
            versions=versions(),
            files=file_marks([*train_paths, *validation_paths]),
        )
        checkpoints_dir = f"{exec_properties['checkpoints_dir']}/{mark}"
        model = artifact_utils.get_single_instance(output_dict["model"])
        model_run_dir = artifact_utils.get_single_uri(output_dict["model_run"])
        tracker = open_tracker(
            tracking,
            name="CycleGANTrainer" if label is None else f"CycleGANTrainer {dataset.classes[label]}",
            config=settings.model_dump(mode="json"),
            directory=model_run_dir,
        )
        try:
            record = train(
                train_paths=train_paths,
                validation_paths=validation_paths,
                dataset=dataset,
                settings=settings,
                label=label,
                seed=exec_properties["seed"],
                translate_batch_size=exec_properties["translate_batch_size"],
                checkpoints_dir=checkpoints_dir,
                model_dir=model.uri,
                model_run_dir=model_run_dir,
                tracker=tracker,
            )
        finally:
            tracker.finish()
        for name, value in worst(selected_directions(record)).items():
            model.set_float_custom_property(f"translation_{name}", value)
        tf.io.gfile.rmtree(checkpoints_dir)
