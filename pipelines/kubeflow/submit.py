"""Runs of a pipeline on the cluster, started by hand."""

from datetime import datetime, timezone

from model_patching.pipelines.kubeflow.client import Cluster
from model_patching.pipelines.kubeflow.specification import Specification, check_arguments
from model_patching.pipelines.kubeflow.upload import upload


def submit(
    cluster: Cluster,
    found: Specification,
    arguments: dict[str, str],
    *,
    experiment: str,
    name: str | None = None,
    service_account: str | None = None,
) -> str:
    """Starts a run.

    Args:
        cluster: where.
        found: the pipeline.
        arguments: of the run, by parameter.
        experiment: under which Kubeflow shows it; made if there is none of this name.
        name: of the run; the pipeline's and the time unless given.
        service_account: of Kubernetes, as which its steps run.

    Returns:
        The run's id.

    Raises:
        ClusterError: the cluster can't be had or has refused.
    """
    check_arguments(found, arguments)
    version = upload(cluster, found)
    name = name or f"{found.name} {datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S}"
    with cluster.errors():
        group = cluster.client.create_experiment(experiment, namespace=cluster.namespace)
        run = cluster.client.run_pipeline(
            group.experiment_id,
            name,
            params=arguments,
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
            service_account=service_account,
        )
    return run.run_id
