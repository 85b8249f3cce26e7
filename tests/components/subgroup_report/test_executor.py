"""The node itself, on what TFMA really writes, with models whose mistakes are chosen."""

import json
import re

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
from model_patching.components.subgroup_report.settings import SubgroupReportSettings
from model_patching.data import schema
from model_patching.data.dataset import Dataset

DATASET = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag", "blurred"), image_shape=(2, 2, 1))
COUNT = [[7, 4, 3], [5, 0, 6]]
CORRECT = {"candidate": [[6, 3, 3], [4, 0, 6]], "baseline": [[7, 0, 1], [1, 0, 6]]}
SETTINGS = EvaluatorSettings(baseline="erm", min_worst_group_accuracy=0.5)


class _Oracle(tf.Module):
    """A classifier that is right where the record's id says so: its `place`-th character is 1."""

    def __init__(self, place):
        super().__init__()
        self._place = place

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples.gz")])
    def serve(self, examples):
        record = schema.parse(examples, DATASET, patched=False)
        is_right = tf.strings.substr(record["example_id"], self._place, 1) == "1"
        return {PROBABILITIES: tf.one_hot(tf.where(is_right, record["label"], 1 - record["label"]), 2)}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with `examples.gz` and an oracle for each model."""
    folder = tmp_path_factory.mktemp("work")
    with tf.io.TFRecordWriter(str(folder / "examples.gz"), "GZIP") as writer:
        for label, row in enumerate(COUNT):
            for subgroup, count in enumerate(row):
                for index in range(count):
                    right = "".join(str(int(index < CORRECT[name][label][subgroup])) for name in CORRECT)
                    record = schema.Record(b"png", label, subgroup, f"{right}-{index}")
                    writer.write(schema.serialize(record))
    for place, name in enumerate(CORRECT):
        oracle = _Oracle(place)
        tf.saved_model.save(oracle, str(folder / name), signatures={SIGNATURE: oracle.serve})
    return folder


def _evaluate(work, names):
    config = tfma.utils.update_eval_config_with_defaults(
        eval_config(SETTINGS, DATASET, "hash"), has_baseline=len(names) > 1, rubber_stamp=True
    )
    output = work / f"evaluation-{'-'.join(names)}"
    tfma.run_model_analysis(
        eval_shared_model=[
            tfma.default_eval_shared_model(
                str(work / name), model_name=name if len(names) > 1 else "", eval_config=config
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


def _run(tmp_path, evaluation, training, **inputs):
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
            "model_run": _artifact(standard_artifacts.ModelRun, tmp_path / "model_run"),
            **inputs,
        },
        {"report": _artifact(SubgroupReportArtifact, tmp_path / "report")},
        {
            "settings": SubgroupReportSettings().model_dump_json(),
            "dataset": DATASET.model_dump_json(),
            "dataset_name": "three_corruptions",
            "evaluator_settings": SETTINGS.model_dump_json(),
            "translation_thresholds": TranslationThresholds(min_flip_rate=0.25).model_dump_json(),
            "timings_dir": str(tmp_path / "timings"),
            "code_hash": "hash",
        },
    )
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "summary.json"]
    text = (tmp_path / "report" / "summary.json").read_text()
    return json.loads(text), (tmp_path / "report" / "report.html").read_text()


def test_everything_there(tmp_path, evaluation, training, translator_training):
    (tmp_path / "timings").mkdir()
    (tmp_path / "timings" / "run-1.json").write_text('{"Evaluator": {"seconds": 4.5, "cached": false}}')
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
        evaluation,
        training,
        blessing=_artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing"),
        baseline_model_run=_artifact(standard_artifacts.ModelRun, tmp_path / "baseline_model_run"),
        translator_model_runs=translators,
    )
    assert (summary["pipeline"], summary["run_id"], summary["dataset"]["name"]) == (
        "my_pipeline",
        "run-1",
        "three_corruptions",
    )
    assert [group["count"] for group in summary["groups"]] == [7, 4, 3, 5, 0, 6]
    assert summary["worst_group"] == "even / zigzag" and summary["worst_group_accuracy"] == 0.75
    assert summary["baseline"]["method"] == "erm" and summary["baseline"]["worst_group_accuracy"] == 0.0
    # Without the group that has no examples: (70·6/7 + 40·3/4 + 30·1 + 50·4/5 + 60·1) / 250
    assert summary["average_accuracy"] == pytest.approx(220 / 250)
    assert summary["blessed"] is True
    assert summary["timings"] == {"Evaluator": 4.5}
    assert summary["versions"]["tensorflow"] == "2.21.0" and "tfx" in summary["versions"]
    # 0.99 − 0.01 · (2 · 2 + 1) − 0.1, from blurred to zigzag in the class odd
    assert summary["translation"]["min_flip_rate"] == pytest.approx(0.84)
    assert summary["translation"]["thresholds"]["min_flip_rate"] == 0.25
    assert [selected["model"] for selected in summary["translation"]["selected"]] == [0, 0, 0, 1, 1, 1]
    captions = [f"{model}, zigzag ↔ blurred, step 500 (kept)" for model in ("even", "odd")]
    assert re.findall(r"<figcaption>(.*↔.*)</figcaption>", html) == captions


def test_only_what_is_required(tmp_path, evaluation, training):
    summary, html = _run(tmp_path, evaluation, training)
    assert summary["blessed"] is None and summary["timings"] == {} and summary["translation"] is None
    assert summary["baseline"]["method"] is None  # evaluated, but no one knows how it was trained
    assert "Not gated" in html


def test_not_blessed(tmp_path, evaluation, training):
    (tmp_path / "blessing").mkdir()
    (tmp_path / "blessing" / "NOT_BLESSED").touch()
    blessing = _artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    summary, html = _run(tmp_path, evaluation, training, blessing=blessing)
    assert summary["blessed"] is False and "Not blessed" in html


@pytest.mark.parametrize("translators", [0, 1, 2])
def test_component(translators):
    def channel(artifact_type):
        return types.Channel(type=artifact_type)

    node = SubgroupReport(
        evaluation=channel(standard_artifacts.ModelEvaluation),
        model_run=channel(standard_artifacts.ModelRun),
        settings=SubgroupReportSettings(),
        dataset=DATASET,
        dataset_name="three_corruptions",
        evaluator_settings=SETTINGS,
        translation_thresholds=TranslationThresholds(),
        translator_model_runs=[channel(standard_artifacts.ModelRun) for _ in range(translators)],
    )
    assert node.id == "SubgroupReport"
    assert node.outputs["report"].type.TYPE_NAME == "SubgroupReport"
    assert ("translator_model_runs" in node.inputs) == (translators > 0)
    assert len(node.exec_properties["code_hash"]) == 64
