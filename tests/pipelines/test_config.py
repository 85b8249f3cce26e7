"""The configuration: what it says about each kind of mistake, and that it says it before TensorFlow is loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from model_patching.data.dataset import SPLITS
from model_patching.data.mnist_correlation import MnistCorrelationSettings
from model_patching.pipelines.config import (
    PRESETS,
    ConfigError,
    PipelineConfig,
    config_as_yaml,
    load_config,
    preset_names,
)
from model_patching.pipelines.yaml_loader import YamlLoader

GOOD = """
data:
  mnist_correlation: {p: 0.9, class_size: 400}
training: {learning_rate: 1e-4, mixed_precision: off}
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    """Path of a small configuration that is right."""
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return str(path)


def mistakes(source: str, *overrides: str) -> list[str]:
    """The lines of the error, without the file's name in front."""
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides)
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"{source}: ") for line in lines)
    return [line.removeprefix(f"{source}: ") for line in lines]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("training.epochs=oops", "training.epochs: 'oops' is not an integer"),
        ("training.epochs=1.0", "training.epochs: 1.0 is not an integer"),
        ("training.epochs='3'", "training.epochs: '3' is not an integer"),
        ("training.epochs=010", "training.epochs: '010' is not an integer"),
        ("training.epochs=0", "training.epochs: 0 is not at least 1"),
        ("training.epochs=null", "training.epochs: null is not an integer"),
        ("training.learning_rate=fast", "training.learning_rate: 'fast' is not a number"),
        ("training.learning_rate=0", "training.learning_rate: 0 is not greater than 0.0"),
        ("training.group_dro_per_class=1", "training.group_dro_per_class: 1 is not true or false"),
        (
            "training.method=emr",
            "training.method: 'emr' is not one of erm, balanced_erm, group_dro, irm, camel, dfr",
        ),
        ("training.epohcs=3", "training.epohcs: unknown key, did you mean 'epochs'?"),
        ("trainig.epochs=3", "trainig: unknown key, did you mean 'training'?"),
        ("data.mnist_correlation.pp=0.5", "data.mnist_correlation.pp: unknown key, did you mean 'p'?"),
        ("training=3", "training: 3 is not a mapping of keys to values"),
        ("root=3", "root: 3 is not a text; put it in quotes if it is meant as one"),
        ("pipeline_name=My run", "pipeline_name: 'My run' doesn't match ^[a-z0-9_-]+$"),
        ("seed=-1", "seed: -1 is not at least 0"),
        ("translation.generator_filters=[8,x]", "translation.generator_filters.1: 'x' is not an integer"),
        (
            "translation.generator_filters=[8]",
            "translation.generator_filters: [8] must have at least 2 entries",
        ),
        ("translation.generator_filters=8", "translation.generator_filters: 8 is not a list"),
        ("baseline.method=camel", "baseline.method: 'camel' is not erm"),
        ("data.mnist_correlation=null", "data: give exactly one of mnist_correlation and records"),
        ("data.records=x", "data: give exactly one of mnist_correlation and records"),
        ("beam_pipeline_args=[x]", "beam_pipeline_args.0: 'x' doesn't match ^--"),
        (
            "augmentation.splits=[validation]",
            "augmentation.splits must have train, the training learns from patched examples",
        ),
        ("foo", "--set foo: give it as key=value, for example --set training.epochs=5"),
        ("=3", "--set =3: give it as key=value, for example --set training.epochs=5"),
        ("a..b=3", "--set a..b=3: give it as key=value, for example --set training.epochs=5"),
        ("seed=1,seed.x=3", "seed: '1,seed.x=3' is not an integer"),
    ],
)
def test_a_mistake_is_one_line_with_the_path_of_its_key(good: str, override: str, line: str):
    assert mistakes(good, override) == [line]


def test_an_override_below_a_value(good: str):
    assert mistakes(good, "seed=1", "seed.x=3") == ["--set seed.x=3: 'seed' has no keys of its own"]


def test_an_override_that_is_not_yaml(good: str):
    (line,) = mistakes(good, "training.epochs=[1")
    assert line.startswith("--set training.epochs=[1: the value isn't YAML: line 1: ")


def test_every_mistake_has_a_line(good: str):
    lines = mistakes(good, "training.epochs=x", "seed=y")
    assert lines == ["seed: 'y' is not an integer", "training.epochs: 'x' is not an integer"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 1\ndata: {}\nseed: 2\n", "line 3: 'seed' is there twice"),
        ("data: {1: 2}\n", "line 1: the key 1 must be a text"),
        ("- a\n", "must be a mapping of keys to values"),
        ("", "the file is empty"),
        ("seed: 1\n", "data: is missing"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, line: str):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    assert mistakes(str(path)) == [line]


def test_a_file_that_is_no_yaml(tmp_path: Path):
    path = tmp_path / "wrong.yaml"
    path.write_text("seed: 1\ndata: [\n")
    (line,) = mistakes(str(path))
    assert line.startswith("line 3: ")


def test_a_missing_file(tmp_path: Path):
    assert mistakes(f"{tmp_path}/no.yaml") == ["there is no such file"]


def test_an_unknown_preset_names_the_presets():
    (line,) = mistakes("demp")
    assert line.startswith("there is no such preset, did you mean 'demo'?; presets: ")
    assert "demo" in line.partition("presets: ")[2]


def test_records(tmp_path: Path, good: str):
    records = tmp_path / "records"
    path = tmp_path / "records.yaml"
    path.write_text(f"data: {{records: {records}}}\ntraining: {{method: erm}}\n")
    assert mistakes(str(path)) == [
        "data: records needs dataset: classes, subgroups and image_shape; "
        "only a folder that `model-patching data build` has made says it itself"
    ]

    described = "data.dataset={classes: [a, b], subgroups: [c, d, e], image_shape: [32, 48, 3]}"
    for split in ("train", "validation", "test"):
        assert mistakes(str(path), described) == [
            f"data.records: {records}/{split} has no .tfrecord.gz files"
        ]
        (records / split).mkdir(parents=True)
        (records / split / "data-00000-of-00001.tfrecord.gz").touch()
    config = load_config(str(path), [described])
    assert config.records_dir == str(records)
    assert config.data.name == "records"
    assert config.data.description.num_subgroups == 3
    assert mistakes(good, described) == [
        "data: dataset goes with records only, mnist_correlation has its own"
    ]


DATASET = {"classes": ["a", "b"], "subgroups": ["c", "d", "e"], "image_shape": [32, 48, 3]}


@pytest.fixture
def built(tmp_path: Path, records: list[str]) -> list[str]:
    """An override to a folder with records and a manifest that says what they are."""
    (tmp_path / "manifest.json").write_text(json.dumps({"dataset": DATASET, "files": {}}))
    return records


def test_the_manifest_says_what_records_are(good: str, built: list[str], tmp_path: Path):
    overrides = ["data.mnist_correlation=null", *built]
    config = load_config(good, overrides)
    assert config.data.description.model_dump(mode="json") == DATASET
    assert load_config(good, [*overrides, f"data.dataset={json.dumps(DATASET)}"]) == config
    manifest = tmp_path / "manifest.json"
    assert mistakes(good, *overrides, f"data.dataset={json.dumps(DATASET | {'classes': ['b', 'a']})}") == [
        f'data.dataset.classes: ["b", "a"], but {manifest} says ["a", "b"]; leave dataset out, or give other records'
    ]

    manifest.write_text('{"files": {}}')  # of records that say nothing
    assert mistakes(good, *overrides)[0].startswith("data: records needs dataset")
    for wrong in ("{", '{"dataset": {}}', "[]"):
        manifest.write_text(wrong)
        (line,) = mistakes(good, *overrides)
        assert line.startswith(f"data.records: {manifest} can't be read: ")


def test_records_with_features_of_other_names(good: str, records: list[str], tmp_path: Path):
    overrides = [
        "data.mnist_correlation=null",
        *records,
        f"data.dataset={json.dumps(DATASET)}",
        "data.features={image: img, label_values: [0, x]}",
        "data.image.resize=true",
        "root=here",
    ]
    first = load_config(good, overrides)
    assert (first.data.features.image, first.data.features.subgroup) == ("img", "subgroup")
    assert first.data.features.label_values == (0, "x")
    assert first.records_dir.startswith(f"here/data/{tmp_path.name}-")
    for change, same in (
        ("seed=2", True),
        ("data.image.resize=false", False),
        ("data.features.image=b", False),
    ):
        assert (load_config(good, [*overrides, change]).records_dir == first.records_dir) == same

    assert mistakes(good, *overrides, "data.features=null") == [
        "data: image and skip_bad go with features only, other records are taken as they are"
    ]
    assert mistakes(good, *overrides, "data.features.label_values=[0, 1, 2]") == [
        "data: features.label_values: there are 3 for the 2 of a, b"
    ]
    assert mistakes(good, *overrides, "data.records=gs://bucket/records") == [
        "data: features: the records must be on a local disk, they are converted"
    ]
    assert mistakes(good, "data.features={}") == ["data: features goes with records only"]
    (tmp_path / "test" / "data-00000-of-00001.tfrecord.gz").unlink()
    assert mistakes(good, *overrides) == [
        f"data.records: {tmp_path}/test: no files *.tfrecord*, *.tfrec, *.tfrec.gz"
    ]


def test_published_patches_are_for_records_of_published_files(good: str, records: list[str], tmp_path: Path):
    published = ["patching.source=published", f"patching.folder={tmp_path}/patches"]
    dataset = json.dumps(DATASET | {"subgroups": ["c", "d"]})
    overrides = ["data.mnist_correlation=null", *records, f"data.dataset={dataset}", *published]
    assert mistakes(good, *overrides) == [f"patching.folder: there is no folder {tmp_path}/patches"]
    (tmp_path / "patches").mkdir()
    assert mistakes(good, *overrides) == [
        f"patching.source: published needs {tmp_path}/source_order.npz, which is there when `model-patching data "
        "build` has made the records of the published record files"
    ]
    assert not load_config(
        good, [*overrides, "training.method=erm"]
    ).reads_published_patches  # needs no patches

    (tmp_path / "source_order.npz").touch()
    config = load_config(good, overrides)
    assert config.reads_published_patches and not config.trains_translators
    assert config.source_order == f"{tmp_path}/source_order.npz"

    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"inputs": {"source": {"takes": {"0,0": 4054}}}}))
    assert mistakes(good, *overrides) == [
        f"patching.source: published patches are of the first images of a group, but {manifest} says that a seed has "
        "drawn them; build the records with --take none"
    ]
    manifest.write_text(json.dumps({"inputs": {"source": {"takes": {}}}}))
    load_config(good, overrides)

    # Published translators are for no image of this size, but none is trained.
    large = json.dumps(DATASET | {"subgroups": ["c", "d"], "image_shape": [512, 512, 3]})
    load_config(good, [*overrides, f"data.dataset={large}"])

    built = (
        "patching.source: published needs data.records that `model-patching data build` has made of the published "
        "record files"
    )
    assert mistakes(good, *published) == [built]
    assert mistakes(good, *overrides, "data.features={}") == [built]
    assert mistakes(good, *overrides, f"data.dataset={json.dumps(DATASET)}") == [
        "patching.source: published patched images are of 2 subgroups, the data set has 3"
    ]
    assert mistakes(good, *overrides, "translation.min_flip_rate=0.9") == [
        "translation.min_flip_rate: can't be checked with patching.source: published, which comes without diagnoses; "
        "set it to null"
    ]


def test_images_are_cut_only_where_they_are_scaled(good: str, records: list[str], tmp_path: Path):
    dataset = f"data.dataset={json.dumps(DATASET)}"
    overrides = ["data.mnist_correlation=null", *records, dataset, "data.features={}", "data.image.crop=true"]
    assert mistakes(good, *overrides) == [
        "data.image: crop goes with resize: true, images are cut before they are scaled"
    ]
    assert load_config(good, [*overrides, "data.image.resize=true"]).data.image.crop


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "patching.source=published",
            "patching: source: published needs folder, that of the published stage-1 files",
        ),
        ("patching.folder=x", "patching: folder goes with source: published only"),
        ("patching.prefer=[x]", "patching: prefer goes with source: published only"),
        ("patching.files_read_at_once=2", "patching: files_read_at_once goes with source: published only"),
        ("patching.min_resemblance=0", "patching: min_resemblance goes with source: published only"),
        ("patching.files_read_at_once=0", "patching.files_read_at_once: 0 is not at least 1"),
        ("patching.source=publshed", "patching.source: 'publshed' is not one of cyclegan, published"),
    ],
)
def test_settings_of_published_patches(good: str, override: str, line: str):
    assert mistakes(good, override) == [line]


def test_values_are_read_as_yaml_1_2_has_them(good: str):
    config = load_config(good, ["training.weight_decay=1E-3", "training.epochs=7", "tracking.project='7'"])
    assert config.training.learning_rate == 0.0001
    assert config.training.mixed_precision == "off"
    assert config.training.weight_decay == 0.001
    assert config.training.epochs == 7
    assert config.tracking.project == "7"


def test_paths_follow_the_root_and_the_data_its_settings_and_seed(good: str):
    first = load_config(good, ["root=here"])
    assert first.pipeline_root == "here/model_patching"
    assert first.records_dir.startswith("here/data/mnist_correlation-")
    assert load_config(good, ["root=here", "training.epochs=3"]).records_dir == first.records_dir
    assert load_config(good, ["root=here", "seed=2"]).records_dir != first.records_dir
    assert load_config(good, ["root=here", "data.mnist_correlation.p=0.8"]).records_dir != first.records_dir


def test_the_corruptions_of_mnist_correlation_are_its_subgroups(good):
    assert load_config(good).data.description.subgroups == ("clean", "zigzag")
    config = load_config(good, ["data.mnist_correlation.corruptions=[dotted_line, stripe]"])
    assert config.data.description.subgroups == ("clean", "dotted_line", "stripe")
    with pytest.raises(
        ConfigError, match="data.mnist_correlation.corruptions.0: 'dots' is not one of zigzag, "
    ):
        load_config(good, ["data.mnist_correlation.corruptions=[dots]"])


@pytest.fixture
def records(tmp_path: Path) -> list[str]:
    """An override to a folder that looks as if it held records."""
    for split in SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / split / "data-00000-of-00001.tfrecord.gz").touch()
    return [f"data.records={tmp_path}"]


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_is_right_and_its_yaml_reads_back_to_the_same(
    name: str, tmp_path: Path, records: list[str]
):
    built = name.startswith(("demo", "mnist", "template"))
    config = load_config(name, [] if built else records)
    path = tmp_path / "again.yaml"
    path.write_text(config_as_yaml(config))
    assert load_config(str(path)) == config
    assert PipelineConfig.model_validate_json(config.model_dump_json()) == config


def test_the_configuration_is_checked_without_tensorflow(good: str):
    check = (
        "import sys; from model_patching.pipelines.config import load_config; load_config(sys.argv[1]);"
        "print([name for name in ('tensorflow', 'tfx', 'apache_beam', 'pandas', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check, good], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_template_lists_every_key_with_its_default():
    template = yaml.load((PRESETS / "template.yaml").read_text(), YamlLoader)
    data = {"mnist_correlation": MnistCorrelationSettings()}
    assert flat(template) == flat(json.loads(PipelineConfig(data=data).model_dump_json()))


def flat(tree: dict, prefix: str = "") -> dict:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    leaves = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def test_what_the_augmenter_asks_for_is_no_setting_of_the_training(good: str):
    plain = load_config(good)
    asking = load_config(good, ["translation.min_flip_rate=0.9", "translation.per_class=true"])
    assert asking.translation.trainer == plain.translation.trainer
    assert asking.translation.thresholds.min_flip_rate == 0.9
    assert plain.translation.thresholds.min_flip_rate is None


def test_a_slice_with_a_threshold_must_be_there():
    config = load_config("demo", ["evaluation.min_slice_accuracy={even / zigzag: 0.9, odd: 0.8}"])
    assert config.evaluation.min_slice_accuracy == {"even / zigzag": 0.9, "odd": 0.8}
    with pytest.raises(
        ConfigError, match="^demo: evaluation.min_slice_accuracy: there is no slice 'ood'; there are"
    ):
        load_config("demo", ["evaluation.min_slice_accuracy={ood: 0.8}"])
