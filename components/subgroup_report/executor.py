"""The TFX side of the SubgroupReport: artifacts in, `report.html` and `summary.json` out."""

import os
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.components.evaluator import constants as evaluator_constants
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.numbered_inputs import numbered
from model_patching.components.subgroup_report.evaluated_slices import read_slices
from model_patching.components.subgroup_report.evaluation import read_evaluation
from model_patching.components.subgroup_report.manifest import read_manifest
from model_patching.components.subgroup_report.mistakes import read_pictures
from model_patching.components.subgroup_report.model_run import read_training
from model_patching.components.subgroup_report.nodes import read_nodes
from model_patching.components.subgroup_report.report import render
from model_patching.components.subgroup_report.score import check_counts, score
from model_patching.components.subgroup_report.settings import SubgroupReportSettings
from model_patching.components.subgroup_report.sheets import read_sheets
from model_patching.components.subgroup_report.summary import build_summary, to_json
from model_patching.components.subgroup_report.track import track_report
from model_patching.components.tracking import TrackingSettings, open_tracker
from model_patching.components.versions import versions
from model_patching.data.dataset import Dataset

REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.json"


class Executor(base_executor.BaseExecutor):
    """See `component.SubgroupReport` for the inputs, the output and the exec properties."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Reads the run's artifacts and writes the two files.

        Raises:
            ValueError: an artifact isn't what its node should have written; the message names the file.
        """
        settings = SubgroupReportSettings.model_validate_json(exec_properties["settings"])
        dataset = Dataset.model_validate_json(exec_properties["dataset"])
        evaluation = artifact_utils.get_single_uri(input_dict["evaluation"])
        training = read_training(artifact_utils.get_single_uri(input_dict["model_run"]))
        baseline_runs = input_dict.get("baseline_model_run")
        baseline_training = read_training(baseline_runs[0].uri) if baseline_runs else None
        translator_runs = [
            (run.uri, read_training(run.uri)) for run in numbered(input_dict, "translator_model_run")
        ]
        translator_runs.sort(key=lambda run: -1 if run[1]["label"] is None else run[1]["label"])
        translator_trainings = [translator_training for _, translator_training in translator_runs]
        candidate, baseline = read_evaluation(evaluation, dataset)
        candidate_slices, baseline_slices = read_slices(evaluation, dataset)
        scores = score(
            _test_files(input_dict["examples"]),
            path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"])),
            dataset,
            settings.mistakes,
            total=int(candidate.count.sum()),
        )
        check_counts(scores.counts, candidate)
        run_id = self._context.pipeline_run_id

        summary = build_summary(
            pipeline=self._context.pipeline_info.id,
            run_id=run_id,
            dataset_name=exec_properties["dataset_name"],
            dataset=dataset,
            manifest=read_manifest(exec_properties["records_dir"]),
            training=training,
            baseline_training=baseline_training,
            translator_trainings=translator_trainings,
            translation_thresholds=TranslationThresholds.model_validate_json(
                exec_properties["translation_thresholds"]
            ),
            candidate=candidate,
            baseline=baseline,
            evaluator=EvaluatorSettings.model_validate_json(exec_properties["evaluator_settings"]),
            blessed=_is_blessed(input_dict.get("blessing")),
            scores=scores,
            nodes=read_nodes(exec_properties["nodes_dir"], run_id),
            versions=versions(),
            candidate_slices=candidate_slices,
            baseline_slices=baseline_slices,
        )
        sheets = [
            pair
            for uri, translator_training in translator_runs
            for pair in read_sheets(uri, translator_training, dataset, settings.translation_sheets)
        ]
        html = render(
            summary,
            training,
            baseline_training,
            translator_trainings,
            sheets,
            read_pictures(scores),
            shows_mistakes=settings.mistakes > 0,
        )

        output = artifact_utils.get_single_uri(output_dict["report"])
        _write(os.path.join(output, REPORT_FILE), html)
        _write(os.path.join(output, SUMMARY_FILE), to_json(summary))

        tracker = open_tracker(
            TrackingSettings.model_validate_json(exec_properties["tracking"]),
            name="SubgroupReport",
            config=settings.model_dump(mode="json"),
            directory=output,
        )
        track_report(summary, tracker)
        tracker.finish()


def _test_files(examples: list[types.Artifact]) -> list[str]:
    return tf.io.gfile.glob(f"{artifact_utils.get_split_uri(examples, 'test')}/*")


def _is_blessed(blessing: list[types.Artifact] | None) -> bool | None:
    """The gate's word; None if the run has no gate."""
    if not blessing:
        return None
    folder = artifact_utils.get_single_uri(blessing)
    if fileio.exists(os.path.join(folder, evaluator_constants.BLESSED_FILE_NAME)):
        return True
    if fileio.exists(os.path.join(folder, evaluator_constants.NOT_BLESSED_FILE_NAME)):
        return False
    return None


def _write(path: str, text: str) -> None:
    """Writes a file whole or not at all."""
    with fileio.open(f"{path}.part", "w") as stream:
        stream.write(text)
    fileio.rename(f"{path}.part", path, overwrite=True)
