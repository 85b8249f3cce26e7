"""The node itself, on what TFMA really writes, with models whose mistakes are chosen."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from PIL import Image
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import standard_artifacts

from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.evaluator.eval_config import PROBABILITIES, SIGNATURE, eval_config
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.subgroup_report.component import SubgroupReport, SubgroupReportArtifact
from model_patching.components.subgroup_report.evaluation import read_evaluation
from model_patching.components.subgroup_report.executor import Executor
from model_patching.components.subgroup_report.score import score
from model_patching.components.subgroup_report.settings import SubgroupReportSettings
from model_patching.components.tracking import TrackingSettings
from model_patching.data import schema
from model_patching.data.dataset import Dataset

DATASET = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag", "blurred"), image_shape=(2, 2, 1))
COUNT = [[7, 4, 3], [5, 0, 6]]
CORRECT = {"candidate": [[6, 3, 3], [4, 0, 6]], "baseline": [[7, 0, 1], [1, 0, 6]]}
SETTINGS = EvaluatorSettings(baseline="erm", min_worst_group_accuracy=0.5)


class _Oracle(tf.Module):
    """A classifier that finds its answers written in the images, in the `place`-th pixel."""

    def __init__(self, place):
        super().__init__()
        self._place = place

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def serving_image(self, images):
        def answer(image):
            return tf.cast(tf.io.decode_png(image)[0, self._place, 0], tf.int32)

        return {PROBABILITIES: tf.one_hot(tf.map_fn(answer, images, fn_output_signature=tf.int32), 2)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples.gz")])
    def serve(self, examples):
        return self.serving_image(schema.parse(examples, DATASET, patched=False)["image"])


def _png(candidate, baseline):
    """An image that the models take for these classes."""
    return tf.io.encode_png(np.array([[[candidate], [baseline]], [[9], [9]]], np.uint8)).numpy()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with `examples.gz`, the same with renditions in `Split-test`, and an oracle for each model.

    Each image's renditions are as itself, but as zigzag all are taken for odd by the candidate.
    """
    folder = tmp_path_factory.mktemp("work")
    (folder / "Split-test").mkdir()
    with (
        tf.io.TFRecordWriter(str(folder / "examples.gz"), "GZIP") as writer,
        tf.io.TFRecordWriter(str(folder / "Split-test" / "data.gz"), "GZIP") as patched_writer,
    ):
        for label, subgroup in np.ndindex(2, 3):
            for index in range(COUNT[label][subgroup]):
                answers = [label if index < CORRECT[name][label][subgroup] else 1 - label for name in CORRECT]
                image, as_zigzag = _png(*answers), _png(1, answers[1])
                record = schema.Record(image, label, subgroup, f"{label}{subgroup}-{index}")
                writer.write(schema.serialize(record))
                record = replace(record, patched_images=(image, as_zigzag, image))
                patched_writer.write(schema.serialize(record))
    for place, name in enumerate(CORRECT):
        oracle = _Oracle(place)
        signatures = {SIGNATURE: oracle.serve, "serving_image": oracle.serving_image}
        tf.saved_model.save(oracle, str(folder / name / "Format-Serving"), signatures=signatures)
    return folder


def _evaluate(work, names):
    config = tfma.utils.update_eval_config_with_defaults(
        eval_config(SETTINGS, DATASET, "hash"), has_baseline=len(names) > 1, rubber_stamp=True
    )
    output = work / f"evaluation-{'-'.join(names)}"
    tfma.run_model_analysis(
        eval_shared_model=[
            tfma.default_eval_shared_model(
                str(work / name / "Format-Serving"),
                model_name=name if len(names) > 1 else "",
                eval_config=config,
            )
            for name in names
        ],
        eval_config=config,
        data_location=str(work / "examples.gz"),
        output_path=str(output),
    )
    return str(output)


@pytest.fixture(scope="module")
def evaluation(work):
    return _evaluate(work, ["candidate", "baseline"])


def test_reads_both_models(evaluation):
    candidate, baseline = read_evaluation(evaluation, DATASET)
    assert candidate.count.tolist() == baseline.count.tolist() == COUNT
    assert candidate.correct.tolist() == CORRECT["candidate"]
    assert baseline.correct.tolist() == CORRECT["baseline"]


def test_reads_one_model(work):
    candidate, baseline = read_evaluation(_evaluate(work, ["candidate"]), DATASET)
    assert candidate.correct.tolist() == CORRECT["candidate"]
    assert baseline is None


def test_an_evaluation_of_other_groups(evaluation):
    smaller = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(2, 2, 1))
    with pytest.raises(ValueError, match="subgroup 2 is not between 0 and 1"):
        read_evaluation(evaluation, smaller)


def _artifact(artifact_type, path):
    artifact = artifact_type()
    artifact.uri = str(path)
    return [artifact]


def _run(tmp_path, work, evaluation, training, **inputs):
    """Runs the executor; returns (summary, html)."""
    counts = [[70, 40, 30], [50, 10, 60]]
    for name, method in (("model_run", "camel"), ("baseline_model_run", "erm")):
        (tmp_path / name).mkdir()
        made = training(method) | {"group_counts": {"train": counts, "validation": counts}}
        (tmp_path / name / "training.json").write_text(json.dumps(made))
    (tmp_path / "report").mkdir()
    context = base_executor.BaseExecutor.Context(
        pipeline_run_id="run-1", pipeline_info=pipeline_pb2.PipelineInfo(id="my_pipeline")
    )
    Executor(context).Do(
        {
            "evaluation": _artifact(standard_artifacts.ModelEvaluation, evaluation),
            "model": _artifact(standard_artifacts.Model, work / "candidate"),
            "model_run": _artifact(standard_artifacts.ModelRun, tmp_path / "model_run"),
            "examples": _examples(work),
            **inputs,
        },
        {"report": _artifact(SubgroupReportArtifact, tmp_path / "report")},
        {
            "settings": SubgroupReportSettings().model_dump_json(),
            "dataset": DATASET.model_dump_json(),
            "dataset_name": "three_corruptions",
            "evaluator_settings": SETTINGS.model_dump_json(),
            "translation_thresholds": TranslationThresholds(min_flip_rate=0.25).model_dump_json(),
            "records_dir": str(tmp_path / "records"),
            "manifest_hash": "hash",
            "nodes_dir": str(tmp_path / "nodes"),
            "tracking": '{"mode": "disabled"}',
            "code_hash": "hash",
        },
    )
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "summary.json"]
    text = (tmp_path / "report" / "summary.json").read_text()
    return json.loads(text), (tmp_path / "report" / "report.html").read_text()


def _examples(work):
    (artifact,) = _artifact(standard_artifacts.Examples, work)
    artifact.split_names = '["test"]'
    return [artifact]


def test_everything_there(tmp_path, work, evaluation, training, translator_training):
    (tmp_path / "nodes" / "run-1").mkdir(parents=True)
    node = {"seconds": 4.5, "cached": False, "ended": 1.0, "inputs": [], "outputs": []}
    (tmp_path / "nodes" / "run-1" / "Evaluator.json").write_text(json.dumps(node))
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "manifest.json").write_text('{"name": "birds", "inputs": {}}')
    (tmp_path / "blessing").mkdir()
    (tmp_path / "blessing" / "BLESSED").touch()
    translators = []
    for label in (1, 0):  # in no order
        folder = tmp_path / f"translators-{label}"
        (folder / "sheets").mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps(translator_training(label, DATASET)))
        Image.new("L", (4, 4)).save(folder / "sheets" / "1-2-step000500.png")
        translators += _artifact(standard_artifacts.ModelRun, folder)
    summary, html = _run(
        tmp_path,
        work,
        evaluation,
        training,
        blessing=_artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing"),
        baseline_model_run=_artifact(standard_artifacts.ModelRun, tmp_path / "baseline_model_run"),
        **{f"translator_model_run_{number}": [run] for number, run in enumerate(translators)},
    )
    assert (summary["pipeline"], summary["run_id"], summary["dataset"]["name"]) == (
        "my_pipeline",
        "run-1",
        "birds",
    )
    assert [group["count"] for group in summary["groups"]] == [7, 4, 3, 5, 0, 6]
    assert summary["worst_group"] == "even / zigzag" and summary["worst_group_accuracy"] == 0.75
    assert summary["baseline"]["method"] == "erm" and summary["baseline"]["worst_group_accuracy"] == 0.0
    # Without the group that has no examples: (70·6/7 + 40·3/4 + 30·1 + 50·4/5 + 60·1) / 250
    assert summary["average_accuracy"] == pytest.approx(220 / 250)
    assert summary["blessed"] is True and summary["missed_thresholds"] == []
    everything, *_, last = summary["slices"]
    assert everything["confusion_matrix"] == [[12, 2], [1, 10]]
    assert everything["precision"] == pytest.approx([12 / 13, 10 / 12])
    assert everything["recall"] == pytest.approx([12 / 14, 10 / 11])
    assert everything["auc"] == pytest.approx([(12 / 14 + 10 / 11) / 2] * 2)
    zigzag = next(found for found in summary["slices"] if found["name"] == "zigzag")
    assert zigzag["confusion_matrix"] == [[3, 1], [0, 0]] and zigzag["auc"] == [None, None]
    assert zigzag["recall"] == [0.75, None] and zigzag["precision"] == [1.0, 0.0]
    assert (last["name"], last["count"], last["accuracy"]) == ("odd / blurred", 6, 1.0)
    assert "odd / zigzag" not in [found["name"] for found in summary["slices"]]  # no examples
    assert summary["baseline"]["slices"][0]["confusion_matrix"] == [[8, 6], [4, 7]]
    assert '<th scope="row">odd / blurred</th>' in html and "Table of slices" in html
    assert summary["timings"] == {"Evaluator": 4.5}
    assert [node["node"] for node in summary["lineage"]] == ["Evaluator"]
    assert summary["data"]["counts"]["test"] == COUNT
    # As zigzag all even ones are taken for odd, and so change where they were right before.
    assert [row["changed"] for row in summary["consistency"]] == [6, 3, 3, 1, 0, 0]
    assert [row["count"] for row in summary["consistency"]] == [7, 4, 3, 5, 0, 6]
    assert [mistake["example_id"] for mistake in summary["mistakes"]] == ["00-6", "01-3", "10-4"]
    assert [one["predicted"] for one in summary["mistakes"][2]["renditions"]] == [0, 1, 0]
    assert html.count('class="images"') == 3
    assert summary["versions"]["tensorflow"] == "2.21.0" and "tfx" in summary["versions"]
    # 0.99 − 0.01 · (2 · 2 + 1) − 0.1, from blurred to zigzag in the class odd
    assert summary["translation"]["min_flip_rate"] == pytest.approx(0.84)
    assert summary["translation"]["thresholds"]["min_flip_rate"] == 0.25
    assert [selected["model"] for selected in summary["translation"]["selected"]] == [0, 0, 0, 1, 1, 1]
    captions = [f"{model}, zigzag ↔ blurred, step 500 (kept)" for model in ("even", "odd")]
    assert re.findall(r"<figcaption>(.*↔.*)</figcaption>", html) == captions


def test_the_reports_own_predictions_have_the_evaluators_accuracy(work, evaluation):
    for name, counts in zip(("candidate", "baseline"), read_evaluation(evaluation, DATASET), strict=True):
        found = score(
            [str(work / "Split-test" / "data.gz")], str(work / name / "Format-Serving"), DATASET, 1, 25
        )
        np.testing.assert_array_equal(found.counts.correct, counts.correct)
        np.testing.assert_array_equal(found.counts.count, counts.count)


def test_only_what_is_required(tmp_path, work, evaluation, training):
    summary, html = _run(tmp_path, work, evaluation, training)
    assert summary["dataset"]["name"] == "three_corruptions" and summary["data"]["manifest"] is None
    assert summary["blessed"] is None and summary["timings"] == {} and summary["translation"] is None
    assert summary["baseline"]["method"] is None  # evaluated, but no one knows how it was trained
    assert "Not gated" in html


def test_not_blessed(tmp_path, work, evaluation, training):
    (tmp_path / "blessing").mkdir()
    (tmp_path / "blessing" / "NOT_BLESSED").touch()
    blessing = _artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    summary, html = _run(tmp_path, work, evaluation, training, blessing=blessing)
    assert summary["blessed"] is False and "Not blessed" in html
    # There is nothing that this gate could have missed.
    assert "by the report&#39;s figures no threshold is missed" in html


def test_a_model_that_is_not_the_evaluated_one(tmp_path, work, evaluation, training):
    """It gets 15 of the 25 images right, the one that was evaluated 22."""
    with pytest.raises(
        ValueError, match="serving_image gets 15 of 25 test images right, but serving_default 22 "
    ):
        _run(
            tmp_path, work, evaluation, training, model=_artifact(standard_artifacts.Model, work / "baseline")
        )


@pytest.mark.parametrize("translators", [0, 1, 2])
def test_component(translators):
    def channel(artifact_type):
        return types.Channel(type=artifact_type)

    node = SubgroupReport(
        evaluation=channel(standard_artifacts.ModelEvaluation),
        model=channel(standard_artifacts.Model),
        model_run=channel(standard_artifacts.ModelRun),
        examples=channel(standard_artifacts.Examples),
        records_dir="records",
        tracking=TrackingSettings(),
        settings=SubgroupReportSettings(),
        dataset=DATASET,
        dataset_name="three_corruptions",
        evaluator_settings=SETTINGS,
        translation_thresholds=TranslationThresholds(),
        translator_model_runs=[channel(standard_artifacts.ModelRun) for _ in range(translators)],
    )
    assert node.id == "SubgroupReport"
    assert node.outputs["report"].type.TYPE_NAME == "model_patching.SubgroupReport"
    assert [f"translator_model_run_{number}" in node.inputs for number in range(3)] == [
        number < translators for number in range(3)
    ]
    assert len(node.exec_properties["code_hash"]) == 64
