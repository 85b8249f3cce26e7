"""`model-patching slices`: TFMA's browser of a run's slices as one HTML file."""

import json
import os
from pathlib import Path

from model_patching.pipelines.console import output_moved_to, working_on
from model_patching.pipelines.find_run import METADATA, find_run


class NoEvaluation(ValueError):
    """There is no evaluation to show. One line that names the folder."""


def write_slices(root: Path, run: str, output: Path) -> None:
    """Writes the page.

    Args:
        root, run: as in `find_run`. An evaluation's folder that isn't below a run's will do as well, such as one copied
            from another machine; its classes and subgroups then have numbers for names.
        output: the file; its folder is made.

    Raises:
        NoSuchRun: there is no such run, or it has no evaluation.
        NoEvaluation: the evaluation can't be read.
        OSError: the file can't be written.
    """
    # What the run's report says of it; nothing in a run without one.
    summary = {}
    if _stands_alone(Path(run)):
        title, folder = f"Slices of {run}", Path(run)
    else:
        found = find_run(root, run, needs="ModelEvaluation")
        title, folder = f"Slices of run {found.run_id}", found.folder("ModelEvaluation")
        report = found.folder("SubgroupReport")
        if report is not None and (report / "summary.json").is_file():
            summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(_page(title, folder, summary), encoding="utf-8")


def _stands_alone(path: Path) -> bool:
    """Whether it is a folder without ML Metadata in it or above it."""
    return path.is_dir() and not any(
        (folder / METADATA).is_file() for folder in (path, *path.resolve().parents)
    )


def _page(title: str, folder: Path, summary: dict) -> str:
    # What TensorFlow says while it starts is nobody's concern here.
    with output_moved_to(Path(os.devnull)), working_on("loading TFMA"):
        from model_patching.pipelines.slices import load_slices
        from model_patching.pipelines.slices.views import browser_view, fairness_view, page

        dataset = summary.get("dataset", {"classes": [], "subgroups": []})
        try:
            found = load_slices.load_slices(folder, dataset["classes"], dataset["subgroups"])
        except load_slices.NoEvaluation as error:
            raise NoEvaluation(error) from None
        model = summary.get("method", "model")
        baseline = (summary.get("baseline") or {}).get("kind", "baseline")
        heading = (
            f"{model} beside {baseline}; per cent: how far {model} is from {baseline}"
            if found.baseline
            else "Fairness Indicators"
        )
        return page(
            title, {"Every slice": browser_view(found), heading: fairness_view(found, model, baseline)}
        )
