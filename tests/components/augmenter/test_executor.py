import tfx  # noqa: F401, I001 - before everything that imports tensorflow_data_validation

import json
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.components.util import examples_utils, tfxio_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import channel_utils, standard_artifacts

from model_patching.components.augmenter.component import Augmenter
from model_patching.components.augmenter.executor import Executor
from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.thresholds import TranslationRefused, TranslationThresholds
from model_patching.components.augmenter.load_translator import TranslatorError
from model_patching.data import schema
from model_patching.data.dataset import Dataset
from model_patching.data.schema import RecordError

TWO = Dataset(classes=("even", "odd"), subgroups=("clean", "zigzag"), image_shape=(4, 4, 1))
COUNTS = {"train": [[5, 2], [1, 4]], "validation": [[2, 1], [1, 2]], "test": [[1, 1], [1, 1]]}


def negative(images):
    return -images


def write_examples(folder, make_records, change=None):
    """An Examples artifact as ImportExampleGen leaves it; `change` edits the training records."""
    for split, counts in COUNTS.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        records = [schema.serialize(record) for record in make_records(counts)]
        if change is not None and split == "train":
            records = change(records)
        path = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for record in records:
                writer.write(record)
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = '["train", "validation", "test"]'
    examples_utils.set_payload_format(artifact, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    return artifact


def model_artifact(uri):
    artifact = standard_artifacts.Model()
    artifact.uri = uri
    return artifact


def run(folder, examples, models, settings, mode="in_memory", thresholds=TranslationThresholds()):  # noqa: B008
    output = standard_artifacts.Examples()
    output.uri = str(folder)
    folder.mkdir()
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=[f"--direct_running_mode={mode}", "--direct_num_workers=1"],
        tmp_dir=str(folder.parent / "tmp"),
        unique_id="1",
    )
    Executor(context).Do(
        {
            "source_examples": [examples],
            **{f"model_{number}": [model_artifact(uri)] for number, uri in enumerate(models)},
        },
        {"examples": [output]},
        {
            "settings": settings.model_dump_json(),
            "thresholds": thresholds.model_dump_json(),
            "dataset": TWO.model_dump_json(),
            "code_hash": "0",
        },
    )
    return output


@pytest.fixture
def models(tmp_path, write_model):
    effects = {(0, 1): negative, (1, 0): negative}
    return [write_model(tmp_path / f"model{label}", effects, label=label) for label in (0, 1)]


def test_the_named_splits_are_patched_and_the_others_copied(tmp_path, models, make_records):
    examples = write_examples(tmp_path / "in", make_records)
    settings = AugmenterSettings(splits=("validation", "train"))
    output = run(tmp_path / "out", examples, models, settings)

    assert output.splits == ["train", "validation", "test"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "Split-test",
        "Split-train",
        "Split-validation",
    ]
    name = "data_tfrecord-00000-of-00001.gz"
    copied, source = (tmp_path / place / "Split-test" / name for place in ("out", "in"))
    assert copied.read_bytes() == source.read_bytes()
    for split, counts in COUNTS.items():
        # The way in which TFX finds the files of an Examples artifact.
        (pattern,), (file_format,) = tfxio_utils.get_file_format_and_patterns([output], split)
        assert file_format == "tfrecords_gzip"
        serialized = list(schema.read_records(sorted(tf.io.gfile.glob(pattern))).as_numpy_iterator())
        assert len(serialized) == sum(map(sum, counts))
        expected = 0 if split == "test" else 2
        assert {len(schema.deserialize(item).patched_images) for item in serialized} == {expected}
    assert examples_utils.get_payload_format(output) == example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_a_bad_record_stops_it_with_one_line_and_no_split(tmp_path, models, make_records, mode):
    examples = write_examples(tmp_path / "in", make_records, lambda records: [*records, b"\xff"])
    with pytest.raises(RecordError) as caught:
        run(tmp_path / "out", examples, models, AugmenterSettings(), mode)
    file = tmp_path / "in" / "Split-train" / "data_tfrecord-00000-of-00001.gz"
    assert str(caught.value) == f"{file}, record 12: not a serialized tf.train.Example"
    assert list((tmp_path / "out").iterdir()) == []


def test_wrong_inputs_are_refused_before_anything_is_written(tmp_path, models, make_records):
    examples = write_examples(tmp_path / "in", make_records)
    with pytest.raises(TranslatorError, match="class 'odd' has no model"):
        run(tmp_path / "out1", examples, models[:1], AugmenterSettings())
    examples.split_names = '["train", "test"]'
    with pytest.raises(ValueError, match="no split 'validation', only train, test"):
        run(tmp_path / "out2", examples, models, AugmenterSettings(splits=("validation",)))
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_PROTO)
    with pytest.raises(ValueError, match="must be tf.train.Example records"):
        run(tmp_path / "out3", examples, models, AugmenterSettings())
    for folder in ("out1", "out2", "out3"):
        assert list((tmp_path / folder).iterdir()) == []


def test_translators_below_a_threshold_are_refused_before_anything_is_written(tmp_path, models, make_records):
    examples = write_examples(tmp_path / "in", make_records)
    thresholds = TranslationThresholds(min_flip_rate=0.9)
    with pytest.raises(TranslatorError, match="model0/translators.json: has no diagnostics"):
        run(tmp_path / "out1", examples, models, AugmenterSettings(), thresholds=thresholds)
    for label, flip_rate in enumerate((0.95, 0.85)):
        path = Path(models[label]) / "translators.json"
        measured = {
            "class": TWO.classes[label],
            "source": "clean",
            "target": "zigzag",
            "flip_rate": flip_rate,
        }
        path.write_text(json.dumps(json.loads(path.read_text()) | {"diagnostics": [measured]}))
    with pytest.raises(
        TranslationRefused, match="min_flip_rate is 0.9, but clean → zigzag of class 'odd' reaches 0.85"
    ):
        run(tmp_path / "out2", examples, models, AugmenterSettings(), thresholds=thresholds)
    assert list((tmp_path / "out1").iterdir()) == list((tmp_path / "out2").iterdir()) == []
    run(
        tmp_path / "out3",
        examples,
        models,
        AugmenterSettings(),
        thresholds=TranslationThresholds(min_flip_rate=0.8),
    )
    assert (tmp_path / "out3" / "Split-train").is_dir()


def test_the_component_takes_one_model_or_more():
    examples = channel_utils.as_channel([standard_artifacts.Examples()])
    models = [channel_utils.as_channel([standard_artifacts.Model()]) for _ in range(2)]
    settings, thresholds = AugmenterSettings(batch_size=7), TranslationThresholds(min_flip_rate=0.5)
    for given in (models[:1], models):
        component = Augmenter(
            examples=examples, models=given, settings=settings, thresholds=thresholds, dataset=TWO
        )
        assert component.id == "Augmenter"
        assert component.outputs["examples"].type is standard_artifacts.Examples
        assert AugmenterSettings.model_validate_json(component.exec_properties["settings"]) == settings
        assert (
            TranslationThresholds.model_validate_json(component.exec_properties["thresholds"]) == thresholds
        )
        assert Dataset.model_validate_json(component.exec_properties["dataset"]) == TWO
        assert len(component.exec_properties["code_hash"]) == 64
