"""This project's types of artifacts, for tasks on Vertex AI."""

from tfx.orchestration.kubeflow.v2 import compiler_utils
from tfx.utils import name_utils

from model_patching.components.example_gate.component import GroupCountsArtifact
from model_patching.components.subgroup_report.component import SubgroupReportArtifact


def register_artifact_types() -> None:
    """Tells TFX where their classes are: it takes the name of a type that isn't its own for the path of the class."""
    for artifact_type in (GroupCountsArtifact, SubgroupReportArtifact):
        compiler_utils.TITLE_TO_CLASS_PATH[artifact_type.TYPE_NAME] = name_utils.get_full_name(artifact_type)
