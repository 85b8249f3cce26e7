"""Builds the classifiers' networks once before a run: weights that don't fit must not come to light after stage 1."""

from model_patching.components.robust_trainer.backbone import build_classifier
from model_patching.components.robust_trainer.strategy import require_workers
from model_patching.pipelines.config import PipelineConfig
from model_patching.pipelines.console import working_on


def check_networks(config: PipelineConfig) -> None:
    """Builds the networks that a run will train, with their weights, and looks for what else their trainings need.

    Weights of ImageNet are downloaded here, to where Keras finds them again.

    Raises:
        ValueError: one can't be built. The message is one line and names the part of the configuration.
    """
    trainings = {"training": config.training}
    if config.evaluation.baseline == "erm":
        trainings["baseline"] = config.baseline
    dataset = config.data.description
    for key, settings in trainings.items():
        try:
            require_workers(settings)
            with working_on(f"building {settings.backbone}"):
                build_classifier(
                    settings.backbone, dataset.image_shape, dataset.num_classes, settings.weights, seed=0
                )
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
