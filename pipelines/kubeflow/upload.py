"""Pipelines on the cluster: each compiled file is a version of the pipeline of its name."""

import hashlib
import json
from typing import NamedTuple

from kfp_server_api import V2beta1Pipeline, V2beta1PipelineVersion

from model_patching.pipelines.kubeflow.api_errors import NameTaken
from model_patching.pipelines.kubeflow.client import Cluster
from model_patching.pipelines.kubeflow.specification import Specification


class Version(NamedTuple):
    """A pipeline's version on the cluster, and its name there."""

    pipeline_id: str
    version_id: str
    name: str


def upload(cluster: Cluster, found: Specification) -> Version:
    """Uploads a compiled pipeline, unless the same file is there already.

    A version is named for the hash of its file, so that the same command twice leaves one.

    Raises:
        ClusterError: the cluster can't be had or has refused.
    """
    name = hashlib.sha256(found.path.read_bytes()).hexdigest()[:12]
    pipeline = _find_pipeline(cluster, found.name)
    if pipeline is None:
        try:
            with cluster.errors():
                # Client.upload_pipeline would add a version of the pipeline's name to the one that comes below.
                pipeline = cluster.client.pipelines.pipeline_service_create_pipeline(
                    V2beta1Pipeline(display_name=found.name, namespace=cluster.namespace)
                )
        except NameTaken as error:
            pipeline = _find_pipeline(cluster, found.name)  # somebody else may have been quicker
            if pipeline is None:
                raise NameTaken(
                    f"{error}; the name {found.name} is taken by a pipeline that can't be seen from here: "
                    "give another one, --set pipeline_name=…"
                ) from None
    version = _find_version(cluster, pipeline.pipeline_id, name)
    if version is None:
        try:
            with cluster.errors():
                version = cluster.client.upload_pipeline_version(
                    str(found.path), pipeline_version_name=name, pipeline_id=pipeline.pipeline_id
                )
        except NameTaken:
            version = _find_version(cluster, pipeline.pipeline_id, name)
            if version is None:
                raise
    return Version(pipeline.pipeline_id, version.pipeline_version_id, name)


def _find_pipeline(cluster: Cluster, name: str) -> V2beta1Pipeline | None:
    with cluster.errors():
        answer = cluster.client.list_pipelines(filter=_named(name), namespace=cluster.namespace)
    return next(iter(answer.pipelines or ()), None)


def _find_version(cluster: Cluster, pipeline_id: str, name: str) -> V2beta1PipelineVersion | None:
    with cluster.errors():
        answer = cluster.client.list_pipeline_versions(pipeline_id, filter=_named(name))
    return next(iter(answer.pipeline_versions or ()), None)


def _named(name: str) -> str:
    """A filter of the API."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})
