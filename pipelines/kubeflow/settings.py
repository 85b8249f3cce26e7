"""What a cluster gives to a pipeline: image, storage, ML Metadata, machines, secrets."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from model_patching.data.settings import Settings
from model_patching.pipelines.metadata_store import store_address
from model_patching.pipelines.step_settings import check_accelerators, layered, trains

PREPARE, VERDICT, NOT_BLESSED_STEP = "prepare", "verdict", "not-blessed"  # the steps that are no nodes

Text = Annotated[str, Field(min_length=1)]
Cpu = Annotated[str, Field(pattern=r"^\d+(\.\d+)?m?$")]
Memory = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(Ki?|Mi?|Gi?|Ti?)$")]


class SecretKey(Settings):
    """One value of a Kubernetes secret.

    Attributes:
        secret: name of the secret, in the namespace of the runs.
        key: of the value in it.
    """

    secret: Text
    key: Text


class Volume(Settings):
    """A persistent volume that every step sees; steps on several machines need one with ReadWriteMany.

    Attributes:
        claim: name of the PersistentVolumeClaim, in the namespace of the runs.
        mount_path: where the steps see it.
    """

    claim: Text
    mount_path: Annotated[str, Field(pattern="^/.")]


class MetadataSettings(Settings):
    """The ML Metadata store that the steps share.

    Attributes:
        url: mysql://USER@HOST:PORT/DATABASE, grpc://HOST:PORT, or sqlite:////FILE for trials on one machine.
        password: of the user of MySQL.
    """

    url: str
    password: SecretKey | None = None

    @field_validator("url")
    @classmethod
    def _is_known(cls, url: str) -> str:
        store_address(url)
        return url


class Toleration(Settings):
    """As in a pod's specification, and with its rules: lets steps onto machines with this taint, such as those with a
    GPU.
    """

    key: Text | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _is_one_of_kubernetes(self) -> "Toleration":
        if self.operator == "Equal" and self.key is None:
            raise ValueError("key: is missing; operator: Exists tolerates all taints")
        if self.operator == "Exists" and self.value is not None:
            raise ValueError(
                f"value: {self.value} doesn't go with operator: Exists, which tolerates every value"
            )
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("toleration_seconds: goes with effect: NoExecute alone")
        return self


class Retries(Settings):
    """How often a step that has failed is started again, and after how long.

    Attributes:
        count: tries after the first.
        backoff_seconds: wait before the first of them.
        backoff_factor: each wait is so many times the one before; Argo, which does the waiting, takes whole numbers.
        give_up_after_seconds: counted from the start of the first try, the tries' own time with it: from then on none
            is started, and a later try that still runs is stopped. A week by default.
    """

    count: Annotated[int, Field(ge=0)] = 3
    backoff_seconds: Annotated[int, Field(ge=0)] = 60
    backoff_factor: Annotated[int, Field(ge=1)] = 2
    give_up_after_seconds: Annotated[int, Field(ge=1)] = 7 * 24 * 3600


class StepSettings(Settings):
    """What a step's container asks of the cluster; null leaves it to the more general settings, or to the cluster.

    Attributes:
        cpu_request, cpu_limit: cores, "4" or "500m".
        memory_request, memory_limit: "16G" or "16Gi".
        accelerator: resource name of a GPU, such as nvidia.com/gpu.
        accelerator_count: of them; 0 for none.
        node_selector: labels that the machine must have.
        tolerations: taints that the machine may have.
        retries: for steps that fail.
    """

    cpu_request: Cpu | None = None
    cpu_limit: Cpu | None = None
    memory_request: Memory | None = None
    memory_limit: Memory | None = None
    accelerator: Text | None = None
    accelerator_count: Annotated[int, Field(ge=0)] | None = None
    node_selector: dict[str, str] | None = None
    tolerations: tuple[Toleration, ...] | None = None
    retries: Retries | None = None


class EnvironmentSecret(SecretKey):
    """A value of a Kubernetes secret in an environment variable of every step.

    Attributes:
        variable: its name, such as WANDB_API_KEY.
    """

    variable: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]


class KubeflowSettings(Settings):
    """How a pipeline runs on Kubeflow Pipelines.

    Attributes:
        image: with this project installed and `python` on its PATH.
        root: takes the place of the pipeline's `root`: a folder on the volume, or gs://… (untried).
        volume: where the steps find `root`; null if that is gs://… .
        metadata: the ML Metadata store.
        steps: of every step.
        trainers: of the steps that train, beyond `steps`. They are tried again unless `retries` says otherwise, as a
            training that is started again goes on from its last checkpoint.
        nodes: of single steps by their node's id, beyond the two above.
        environment: variables of every step.
        secrets: further variables, from secrets.
        image_pull_policy, image_pull_secrets: how the cluster gets the image.
        fail_unless_blessed: where the gate did not bless the model there is a last step more, which fails, so that
            Kubeflow shows the run as failed; else `verdict` only says so. No model is pushed either way.
    """

    image: Text
    root: Text
    volume: Volume | None = None
    metadata: MetadataSettings
    steps: StepSettings = StepSettings()
    trainers: StepSettings = StepSettings()
    nodes: dict[str, StepSettings] = {}
    environment: dict[str, str] = {}
    secrets: tuple[EnvironmentSecret, ...] = ()
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[Text, ...] = ()
    fail_unless_blessed: bool = True

    @model_validator(mode="after")
    def _steps_share_root(self) -> "KubeflowSettings":
        if self.root.startswith("gs://"):
            return self
        if "://" in self.root:
            raise ValueError(
                f"root: TensorFlow can't write to {self.root}; give gs://… or a folder on a volume, which may be a "
                "bucket that a CSI driver mounts"
            )
        if not PurePosixPath(self.root).is_absolute():
            raise ValueError(f"root: {self.root} must be an absolute path or gs://…")
        if self.volume is None:
            raise ValueError(f"volume: is missing, the steps don't share {self.root} otherwise")
        if not PurePosixPath(self.root).is_relative_to(self.volume.mount_path):
            raise ValueError(f"root: {self.root} is not below volume.mount_path, {self.volume.mount_path}")
        return self

    @model_validator(mode="after")
    def _accelerators_have_a_type(self) -> "KubeflowSettings":
        found = {"steps": self.steps, "trainers": layered(self.steps, self.trainers)}
        found |= {f"nodes.{node_id}": self.step(node_id) for node_id in self.nodes}
        check_accelerators(found, example="nvidia.com/gpu")
        return self

    def step(self, name: str) -> StepSettings:
        """Settings of a step, by its node's id or prepare or verdict: the most special that say something count."""
        tried_again = StepSettings(retries=Retries())
        if trains(name):
            general = [tried_again, self.steps, self.trainers]
        elif name == VERDICT:  # it only reads, and the run is done: it isn't to fail for a machine
            general = [tried_again, self.steps]
        else:
            general = [self.steps]
        found = layered(*general, self.nodes.get(name, StepSettings()))
        # It is there to fail.
        return found.model_copy(update={"retries": None}) if name == NOT_BLESSED_STEP else found
