"""What Vertex AI gives to a pipeline: image, bucket, machines."""

from typing import Annotated

from pydantic import Field, model_validator

from model_patching.data.settings import Settings
from model_patching.pipelines.step_settings import check_accelerators, layered, trains


class Retries(Settings):
    """How often a step that has failed is started again, and after how long.

    Attributes:
        count: tries after the first.
        backoff_seconds: wait before the first of them.
        backoff_factor: each wait is so many times the one before.
    """

    count: Annotated[int, Field(ge=0)] = 3
    backoff_seconds: Annotated[int, Field(ge=0)] = 60
    backoff_factor: Annotated[float, Field(ge=1)] = 2.0


class StepSettings(Settings):
    """The machine of a step, and what is done when it fails; null leaves it to the more general settings, or to Vertex.

    Vertex takes the smallest machine that has all of it.

    Attributes:
        cpu_limit: cores.
        memory_limit: gigabytes.
        accelerator: type of a GPU as Vertex calls it, such as NVIDIA_L4.
        accelerator_count: of them; 0 for none.
        retries: for steps that fail.
    """

    cpu_limit: Annotated[float, Field(gt=0)] | None = None
    memory_limit: Annotated[float, Field(gt=0)] | None = None
    accelerator: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")] | None = None
    accelerator_count: Annotated[int, Field(ge=0)] | None = None
    retries: Retries | None = None


class VertexSettings(Settings):
    """How a pipeline runs on Vertex AI Pipelines.

    Attributes:
        image: with this project installed and `python` on its PATH.
        root: takes the place of the pipeline's `root`: gs://BUCKET/FOLDER.
        steps: of every step.
        trainers: of the steps that train, beyond `steps`. They are tried again unless `retries` says otherwise, as a
            training that is started again goes on from its last checkpoint.
        nodes: of single steps by their node's id, beyond the two above.
    """

    image: Annotated[str, Field(min_length=1)]
    root: Annotated[str, Field(pattern="^gs://[^/]+(/|$)")]
    steps: StepSettings = StepSettings()
    trainers: StepSettings = StepSettings()
    nodes: dict[str, StepSettings] = {}

    @model_validator(mode="after")
    def _accelerators_have_a_type(self) -> "VertexSettings":
        found = {"steps": self.steps, "trainers": layered(self.steps, self.trainers)}
        found |= {f"nodes.{node_id}": self.step(node_id) for node_id in self.nodes}
        check_accelerators(found, example="NVIDIA_L4")
        return self

    def step(self, node_id: str) -> StepSettings:
        """Settings of a node's step: the most special that say something count."""
        general = (
            [StepSettings(retries=Retries()), self.steps, self.trainers] if trains(node_id) else [self.steps]
        )
        return layered(*general, self.nodes.get(node_id, StepSettings()))
