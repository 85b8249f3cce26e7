"""Finds a run in ML Metadata by what a person calls it: its id, `latest`, or a folder that it left."""

import difflib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

# ML Metadata's own package, so that finding a run doesn't wait for TFX to load.
from ml_metadata import errors
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

LATEST = "latest"
METADATA = "metadata.sqlite"
RUN_CONTEXT = "pipeline_run"


class NoSuchRun(ValueError):
    """There is no such run. One line that says where was looked and what would do."""


@dataclass(frozen=True)
class Run:
    """A run as ML Metadata knows it.

    Attributes:
        run_id: its id there.
        pipeline: the pipeline's name.
        started: when, in local time.
        root: folder of the pipeline's runs, which holds `metadata.sqlite`.
        failed: the node that has failed; None if none has.
        artifacts: what it made or took from the cache, oldest first, by the name of the type ("ModelEvaluation"), this
            project's types without their namespace.
    """

    run_id: str
    pipeline: str
    started: datetime
    root: Path
    failed: str | None
    artifacts: dict[str, list[metadata_store_pb2.Artifact]]

    def folder(self, type_name: str) -> Path | None:
        """Folder of the latest artifact of a type; None without one."""
        found = self.artifacts.get(type_name)
        return artifact_folder(self.root, found[-1]) if found else None


def find_run(root: Path, run: str, needs: str | None = None) -> Run:
    """Finds a run.

    Args:
        root: folder of the runs, `root` in the configuration. Not looked at when `run` is a folder.
        run: a run's id, `latest`, a folder with `metadata.sqlite` (its latest run), or an artifact's folder, or a file
            in it (the latest run that has this artifact).
        needs: a type of artifacts that the run must have.

    Raises:
        NoSuchRun: there is no such run, or it has nothing of the type.
    """
    path = Path(run)
    if run != LATEST and path.exists():
        root, inside = _root_of(path.absolute()), path.absolute()
        runs = list_runs(root)
        matching = runs if inside == root else [found for found in runs if _has(found, inside)]
        unknown = f"{run}: no run in {root / METADATA} has it; give a run's id or {LATEST}"
    else:
        runs = list_runs(root)
        matching = runs if run == LATEST else [found for found in runs if found.run_id == run]
        close = difflib.get_close_matches(run, [found.run_id for found in runs], n=3, cutoff=0.8)
        unknown = f"{run}: no run of this id in {root / METADATA}, and no folder; " + (
            f"did you mean {' or '.join(close)}?" if close else "`model-patching runs` lists them"
        )
    if not runs:
        raise NoSuchRun(f"{root / METADATA}: there are no runs yet")
    if not matching:
        raise NoSuchRun(unknown)
    found = matching[0]
    if needs and needs not in found.artifacts:
        others = [other.run_id for other in runs if needs in other.artifacts]
        raise NoSuchRun(
            f"run {found.run_id} has no {needs}; "
            + (f"the latest that has one is {others[0]}" if others else f"nor has another run in {root}")
        )
    return found


def list_runs(root: Path) -> list[Run]:
    """Every run under `root`, the latest first.

    Raises:
        NoSuchRun: `root` has no metadata, or it can't be read.
    """
    store = open_metadata(root)
    contexts = store.get_contexts_by_type(RUN_CONTEXT)
    return [
        _run(store, root, context)
        for context in sorted(contexts, key=lambda context: context.id, reverse=True)
    ]


def open_metadata(root: Path) -> MetadataStore:
    """ML Metadata of the runs under `root`, to be read.

    Raises:
        NoSuchRun: it isn't there, or isn't ML Metadata's.
    """
    path = root / METADATA
    if not path.is_file():
        raise NoSuchRun(f"{path}: there is no such file; give the folder of the runs with --root")
    config = metadata_store_pb2.ConnectionConfig(
        sqlite=metadata_store_pb2.SqliteMetadataSourceConfig(
            filename_uri=str(path), connection_mode=metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
        )
    )
    try:
        return MetadataStore(config)
    except (RuntimeError, errors.StatusError) as error:
        raise NoSuchRun(f"{path}: not ML Metadata's: {error}") from None


def without_namespace(type_name: str) -> str:
    """The name of a type of artifacts: this project's have had none before."""
    return type_name.rpartition(".")[2]


def run_artifacts(store: MetadataStore, context_id: int) -> dict[str, list[metadata_store_pb2.Artifact]]:
    """What a run made or took from the cache, oldest first, by the name of the type without its namespace.

    Args:
        store: ML Metadata, in whatever database.
        context_id: of the run there.
    """
    artifacts: dict[str, list[metadata_store_pb2.Artifact]] = {}
    for artifact in sorted(store.get_artifacts_by_context(context_id), key=lambda artifact: artifact.id):
        artifacts.setdefault(without_namespace(artifact.type), []).append(artifact)
    return artifacts


def artifact_folder(root: Path, artifact: metadata_store_pb2.Artifact) -> Path:
    """Where an artifact's files are, also when the runs were moved or their `root` was a relative path.

    A run leaves an artifact in <root>/<pipeline>/<node>/<output>/<number>; one that was imported is where it was.
    """
    here = root.joinpath(*Path(artifact.uri).parts[-4:])
    return here if here.exists() else Path(artifact.uri)


def _run(store: MetadataStore, root: Path, context: metadata_store_pb2.Context) -> Run:
    (pipeline,) = store.get_parent_contexts_by_context(context.id)
    return Run(
        run_id=context.name,
        pipeline=pipeline.name,
        started=datetime.fromtimestamp(context.create_time_since_epoch / 1000),
        root=root,
        failed=_failed(store, context, pipeline.name),
        artifacts=run_artifacts(store, context.id),
    )


def _failed(store: MetadataStore, context: metadata_store_pb2.Context, pipeline: str) -> str | None:
    """The first node that has failed."""
    executions = store.get_executions_by_context(context.id)
    for execution in sorted(executions, key=lambda execution: execution.id):
        if execution.last_known_state == metadata_store_pb2.Execution.FAILED:
            names = [
                found.name for found in store.get_contexts_by_execution(execution.id) if found.type == "node"
            ]
            return names[0].removeprefix(f"{pipeline}.")
    return None


def _root_of(path: Path) -> Path:
    for folder in (path, *path.parents):
        if (folder / METADATA).is_file():
            return folder
    raise NoSuchRun(f"{path}: no {METADATA} in this folder or one above it; give a run's id or {LATEST}")


def _has(run: Run, path: Path) -> bool:
    folders = [artifact_folder(run.root, artifact) for group in run.artifacts.values() for artifact in group]
    return any(path == folder or folder in path.parents for folder in map(Path.absolute, folders))
