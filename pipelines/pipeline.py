"""Wires the nodes of a pipeline; what they do is under `components/`."""

import re
from pathlib import Path

from tfx.components import (
    Evaluator,
    ExampleValidator,
    Pusher,
    StatisticsGen,
)
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import pipeline
from tfx.proto import pusher_pb2
from tfx.types import Channel, standard_artifacts

from model_patching.components.augmenter.component import Augmenter
from model_patching.components.code_hash import code_hash
from model_patching.components.cyclegan_trainer.component import CycleGANTrainer
from model_patching.components.evaluator.eval_config import eval_config
from model_patching.components.example_gate.component import ExampleGate
from model_patching.components.example_gen.component import ExampleGen
from model_patching.components.published_patches.component import PublishedPatches
from model_patching.components.record_schema.component import RecordSchema
from model_patching.components.robust_trainer.component import robust_trainer
from model_patching.components.subgroup_report.component import SubgroupReport
from model_patching.data.build import MANIFEST
from model_patching.data.checksums import sha256
from model_patching.pipelines.config import PipelineConfig
from model_patching.pipelines.metadata_store import sqlite_config


def create_pipeline(config: PipelineConfig) -> pipeline.Pipeline:
    """Makes the pipeline that a configuration describes.

    The method decides whether there are CycleGANTrainers and an Augmenter, or PublishedPatches in their place for
    `patching.source: published`; `translation.per_class` how many, and `evaluation.baseline` whether there is a
    BaselineTrainer or a Resolver of the last blessed model.
    """
    dataset = config.data.description
    common = {"dataset": dataset, "tracking": config.tracking}

    example_gen = ExampleGen(config.records_dir)
    source_examples = example_gen.outputs["examples"]
    statistics_gen = StatisticsGen(examples=source_examples)
    schema_gen = RecordSchema(statistics=statistics_gen.outputs["statistics"], dataset=dataset).with_id(
        "SchemaGen"
    )
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    # Everything that trains waits for it.
    example_gate = ExampleGate(
        examples=source_examples,
        anomalies=example_validator.outputs["anomalies"],
        settings=config.data.min_examples_per_group,
        dataset=dataset,
        slices=config.evaluation.slices,
    )
    nodes: list[BaseNode] = [example_gen, statistics_gen, schema_gen, example_validator, example_gate]

    translator_model_runs = []
    training_examples = baseline_examples = source_examples
    if config.trains_translators:
        cyclegan_trainers = [
            CycleGANTrainer(
                examples=source_examples,
                settings=config.translation.trainer,
                augmenter_batch_size=config.augmentation.batch_size,
                checkpoints_dir=f"{config.checkpoints_dir}/{node_id}",
                label=label,
                seed=config.seed,
                **common,
            ).with_id(node_id)
            for node_id, label in cyclegan_trainer_nodes(config)
        ]
        for cyclegan_trainer in cyclegan_trainers:
            cyclegan_trainer.add_upstream_node(example_gate)
        augmenter = Augmenter(
            examples=source_examples,
            models=[cyclegan_trainer.outputs["model"] for cyclegan_trainer in cyclegan_trainers],
            settings=config.augmentation,
            thresholds=config.translation.thresholds,
            dataset=dataset,
        )
        nodes += [*cyclegan_trainers, augmenter]
        translator_model_runs = [
            cyclegan_trainer.outputs["model_run"] for cyclegan_trainer in cyclegan_trainers
        ]
        training_examples = augmenter.outputs["examples"]
    if config.reads_published_patches:
        published_patches = PublishedPatches(
            examples=source_examples,
            settings=config.patching,
            splits=config.augmentation.splits,
            records_per_shard=config.augmentation.records_per_shard,
            source_order=config.source_order,
            dataset=dataset,
        )
        published_patches.add_upstream_node(example_gate)
        nodes.append(published_patches)
        # It may leave out records that were not patched, and the baseline learns from the same.
        training_examples = baseline_examples = published_patches.outputs["examples"]
    trainer = robust_trainer(
        "RobustTrainer",
        examples=training_examples,
        settings=config.training,
        seed=config.training_seed,
        checkpoints_dir=f"{config.checkpoints_dir}/RobustTrainer",
        **common,
    )
    trainer.add_upstream_node(example_gate)
    nodes.append(trainer)

    baseline_model = baseline_model_run = None
    if config.evaluation.baseline == "erm":
        baseline_trainer = robust_trainer(
            "BaselineTrainer",
            examples=baseline_examples,
            settings=config.baseline,
            seed=config.training_seed if config.baseline.seed is None else config.baseline.seed,
            checkpoints_dir=f"{config.checkpoints_dir}/BaselineTrainer",
            **common,
        )
        baseline_trainer.add_upstream_node(example_gate)
        nodes.append(baseline_trainer)
        baseline_model = baseline_trainer.outputs["model"]
        baseline_model_run = baseline_trainer.outputs["model_run"]
    elif config.evaluation.baseline == "last_blessed":
        resolver = Resolver(
            strategy_class=LatestBlessedModelStrategy,
            model=Channel(type=standard_artifacts.Model, producer_component_id=trainer.id),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("LastBlessedModel")
        nodes.append(resolver)
        baseline_model = resolver.outputs["model"]

    evaluator = Evaluator(
        examples=source_examples,
        example_splits=["test"],
        model=trainer.outputs["model"],
        baseline_model=baseline_model,
        eval_config=eval_config(config.evaluation, dataset, code_hash("evaluator")),
    )
    report = SubgroupReport(
        evaluation=evaluator.outputs["evaluation"],
        blessing=evaluator.outputs["blessing"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        # Those with renditions, where there are any.
        examples=training_examples,
        baseline_model_run=baseline_model_run,
        translator_model_runs=translator_model_runs,
        translation_thresholds=config.translation.thresholds,
        settings=config.report,
        **common,
        dataset_name=config.data.name,
        evaluator_settings=config.evaluation,
        records_dir=config.records_dir,
        manifest_hash=_manifest_hash(config),
        nodes_dir=config.nodes_dir,
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=config.serving_dir)
        ),
    )
    nodes += [evaluator, report, pusher]
    return pipeline.Pipeline(
        pipeline_name=config.pipeline_name,
        pipeline_root=config.pipeline_root,
        components=nodes,
        enable_cache=True,
        metadata_connection_config=sqlite_config(config.metadata_path),
        beam_pipeline_args=list(config.beam_pipeline_args),
    )


def cyclegan_trainer_nodes(config: PipelineConfig) -> list[tuple[str, int | None]]:
    """Id and class of each CycleGANTrainer: one for all classes together, or one for each."""
    if not config.translation.per_class:
        return [("CycleGANTrainer", None)]
    names = [re.sub("[^A-Za-z0-9]+", "_", name) for name in config.data.description.classes]
    # The class's number keeps ids apart whose names differ in signs only.
    return [(f"CycleGANTrainer_{label}_{name}", label) for label, name in enumerate(names)]


def _manifest_hash(config: PipelineConfig) -> str:
    """Of given records, where they are local and have a manifest. The name of a folder that the run builds says all."""
    manifest = Path(config.records_dir, MANIFEST)
    is_given = config.records_dir == str(config.data.records)
    return sha256(manifest) if is_given and manifest.is_file() else ""
