"""The RobustTrainer node: TFX's Trainer with this folder's `run_fn`."""

import os

from tfx import types
from tfx.components import Trainer
from tfx.proto import trainer_pb2

from model_patching.components.checkpoint import file_marks
from model_patching.components.code_hash import code_hash
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.tracking import TrackingSettings
from model_patching.data.dataset import Dataset

RUN_FN = "model_patching.components.robust_trainer.run_fn.run_fn"


def robust_trainer(
    node_id: str,
    examples: types.BaseChannel,
    settings: RobustTrainerSettings,
    seed: int,
    dataset: Dataset,
    tracking: TrackingSettings,
    checkpoints_dir: str,
) -> Trainer:
    """Wires a Trainer that trains a classifier by `settings.method`.

    Args:
        node_id: names the node: a pipeline can have two, the model and its baseline.
        examples: Examples with the splits `train`, patched where `settings.uses_patches`, and `validation`.
        settings: how to train.
        seed: fixes the result on a CPU.
        dataset: classes, subgroups and image shape.
        tracking: where the curves go.
        checkpoints_dir: where checkpoints are kept while training.

    Returns:
        The node; `outputs["model"]` is a SavedModel that the Evaluator and the Pusher take, `outputs["model_run"]`
        holds `training.json`.
    """
    trainer = Trainer(
        run_fn=RUN_FN,
        examples=examples,
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["validation"]),
        custom_config={
            "node_id": node_id,
            "settings": settings.model_dump_json(),
            "dataset": dataset.model_dump_json(),
            "tracking": tracking.model_dump_json(),
            "seed": seed,
            "checkpoints_dir": checkpoints_dir,
            # Another file at the same path are other weights.
            "weights_file": file_marks([settings.weights]) if os.path.isfile(settings.weights) else [],
            # TFX knows no version of a run_fn that is given by its path.
            "code_hash": code_hash("robust_trainer"),
        },
    )
    return trainer.with_id(node_id)
