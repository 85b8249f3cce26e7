"""What a node took and made, as ML Metadata has recorded it."""

from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from model_patching.pipelines.find_run import without_namespace

_EVENTS = metadata_store_pb2.Event
_KINDS = {
    "inputs": (_EVENTS.INPUT, _EVENTS.DECLARED_INPUT, _EVENTS.INTERNAL_INPUT),
    "outputs": (_EVENTS.OUTPUT, _EVENTS.DECLARED_OUTPUT, _EVENTS.INTERNAL_OUTPUT),
}


def execution_artifacts(
    store: MetadataStore, execution_id: int, pipeline_root: str
) -> dict[str, list[dict[str, Any]]]:
    """The artifacts of an execution, of one from the cache too.

    Args:
        store: ML Metadata, in whatever database.
        execution_id: of the execution there.
        pipeline_root: paths are told relative to it.

    Returns:
        `inputs` and `outputs`: lists of {"id", "type", "path"} in the order of the ids, types without their namespace.
    """
    events = store.get_events_by_execution_ids([execution_id])
    found = store.get_artifacts_by_id({event.artifact_id for event in events})
    artifacts = {
        artifact.id: {
            "id": artifact.id,
            "type": without_namespace(artifact.type),
            "path": artifact.uri.removeprefix(f"{pipeline_root.rstrip('/')}/"),
        }
        for artifact in found
    }
    return {
        kind: [artifacts[number] for number in sorted({e.artifact_id for e in events if e.type in types})]
        for kind, types in _KINDS.items()
    }
