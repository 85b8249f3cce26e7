"""The block `data` of `summary.json`: what the figures were measured on and learned from, and where that came from."""

from typing import Any

from model_patching.components.evaluator.group_metrics import GroupCounts


def name_of_data(manifest: dict[str, Any] | None, default: str) -> str:
    """The data set's name as its manifest has it, or the default."""
    return (manifest or {}).get("name") or default


def build_data(
    training: dict[str, Any], test: GroupCounts, manifest: dict[str, Any] | None
) -> dict[str, Any]:
    """Builds the block.

    Args:
        training: the model's `training.json`; it knows what it has learned from and was selected on.
        test: of the evaluation.
        manifest: of the records.

    Returns:
        JSON-ready; see `summary.json` in the README for the keys.
    """
    return {
        "counts": {**training["group_counts"], "test": test.count.tolist()},
        "manifest": None if manifest is None else _from_manifest(manifest),
    }


def _from_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    inputs = manifest["inputs"]
    source = inputs.get("source", {})
    return {
        # Of MNIST-Correlation, and of what was converted.
        "sources": inputs.get("sources") or source.get("files", {}),
        "seed": inputs.get("seed"),
        "skipped": len(manifest.get("skipped", [])),
        "warnings": manifest.get("warnings", []),
        "licence": manifest.get("licence"),
        "citation": manifest.get("citation"),
    }
