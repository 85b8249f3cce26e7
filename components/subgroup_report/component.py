"""The SubgroupReport node: one HTML page and one JSON file that say what a run has come to."""

from collections.abc import Sequence
from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.code_hash import code_hash
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.numbered_inputs import number, with_numbered_inputs
from model_patching.components.subgroup_report import executor
from model_patching.components.subgroup_report.settings import SubgroupReportSettings
from model_patching.components.tracking import TrackingSettings
from model_patching.data.dataset import Dataset


class SubgroupReportArtifact(types.Artifact):
    """A folder with `report.html`, to open in a browser, and `summary.json`, for scripts."""

    TYPE_NAME = "model_patching.SubgroupReport"


class SubgroupReportSpec(component_spec.ComponentSpec):
    """Inputs, output and exec properties of the SubgroupReport, but for `translator_model_run_0`, …."""

    PARAMETERS: ClassVar = {
        "settings": component_spec.ExecutionParameter(type=str),
        "dataset": component_spec.ExecutionParameter(type=str),
        "dataset_name": component_spec.ExecutionParameter(type=str),
        "evaluator_settings": component_spec.ExecutionParameter(type=str),
        "translation_thresholds": component_spec.ExecutionParameter(type=str),
        "records_dir": component_spec.ExecutionParameter(type=str),
        "manifest_hash": component_spec.ExecutionParameter(type=str),
        "nodes_dir": component_spec.ExecutionParameter(type=str),
        "tracking": component_spec.ExecutionParameter(type=str),
        "code_hash": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
        "baseline_model_run": component_spec.ChannelParameter(
            type=standard_artifacts.ModelRun, optional=True
        ),
    }
    OUTPUTS: ClassVar = {"report": component_spec.ChannelParameter(type=SubgroupReportArtifact)}


class SubgroupReport(base_component.BaseComponent):
    """Writes the report of the model that was just evaluated.

    Its output `report` holds `report.html` and `summary.json`, both of the same figures.
    """

    SPEC_CLASS = SubgroupReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        evaluation: types.BaseChannel,
        model: types.BaseChannel,
        model_run: types.BaseChannel,
        examples: types.BaseChannel,
        settings: SubgroupReportSettings,
        dataset: Dataset,
        dataset_name: str,
        evaluator_settings: EvaluatorSettings,
        translation_thresholds: TranslationThresholds,
        records_dir: str,
        tracking: TrackingSettings,
        blessing: types.BaseChannel | None = None,
        baseline_model_run: types.BaseChannel | None = None,
        translator_model_runs: Sequence[types.BaseChannel] = (),
        manifest_hash: str = "",
        nodes_dir: str = "",
    ):
        """Wires the node.

        Args:
            evaluation, blessing: of the Evaluator.
            model, model_run: of the RobustTrainer.
            examples: with the split `test`; where it has renditions, their predictions are shown as well.
            settings, dataset, dataset_name: of the configuration.
            evaluator_settings: the gate that `blessing` comes from.
            translation_thresholds: what the translators have to reach.
            baseline_model_run: of the BaselineTrainer, where the baseline is trained in the same run.
            translator_model_runs: of every CycleGANTrainer.
            records_dir: folder of the records that the run began with, whose manifest says where they come from.
            manifest_hash: of that manifest, so that a changed one is shown and no report from the cache.
            tracking: where the table of groups, the chart and the verdict go.
            nodes_dir: where the runner keeps `<run id>/<node>.json`, how each went; the run's id isn't part of it, so
                that it doesn't take the node out of the cache.
        """
        translator_model_run = component_spec.ChannelParameter(type=standard_artifacts.ModelRun)
        spec_class = with_numbered_inputs(
            SubgroupReportSpec, "translator_model_run", translator_model_run, len(translator_model_runs)
        )
        super().__init__(
            spec=spec_class(
                settings=settings.model_dump_json(),
                dataset=dataset.model_dump_json(),
                dataset_name=dataset_name,
                evaluator_settings=evaluator_settings.model_dump_json(),
                translation_thresholds=translation_thresholds.model_dump_json(),
                records_dir=records_dir,
                manifest_hash=manifest_hash,
                nodes_dir=nodes_dir,
                tracking=tracking.model_dump_json(),
                code_hash=code_hash("subgroup_report"),
                evaluation=evaluation,
                model=model,
                model_run=model_run,
                examples=examples,
                blessing=blessing,
                baseline_model_run=baseline_model_run,
                **number("translator_model_run", translator_model_runs),
                report=types.Channel(type=SubgroupReportArtifact),
            )
        )
