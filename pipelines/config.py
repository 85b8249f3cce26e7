"""The one settings tree of a pipeline, where it comes from, and what is wrong with it in one line each.

Nothing here imports TensorFlow or TFX: a mistake in the configuration is told before they are loaded.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.example_gate.settings import ExampleGateSettings
from model_patching.components.published_patches.settings import PatchingSettings
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.subgroup_report.settings import SubgroupReportSettings
from model_patching.components.tracking import TrackingSettings
from model_patching.data import mnist_correlation
from model_patching.data.beam_runner import IN_PROCESS_RUNNER
from model_patching.data.build import MANIFEST, inputs_fingerprint
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.image_settings import ImageSettings
from model_patching.data.mnist_correlation import MnistCorrelationSettings
from model_patching.data.records_source import RecordFeatures, RecordsSource, record_files
from model_patching.data.settings import Settings
from model_patching.data.source import SourceError
from model_patching.data.source_order import SOURCE_ORDER
from model_patching.pipelines.kubeflow.settings import KubeflowSettings
from model_patching.pipelines.vertex.settings import VertexSettings
from model_patching.pipelines.yaml_loader import YamlLoader

PRESETS = Path(__file__).parent / "configs"
CONVERSION_SEED = 0  # it decides the order of converted records alone: for another seed they stay as they are
NODES = "nodes"  # folder of how the nodes went, under the pipeline root
LARGEST_SEED = 2**20  # nodes derive their seeds from it by small multiples, in int32


class ConfigError(ValueError):
    """A configuration can't be used. Each line of the message names the file or preset, the key and the way out."""


class DataSettings(Settings):
    """Where the records come from: a data set that is built, or records that are there.

    Attributes:
        mnist_correlation: builds MNIST-Correlation from the embedded digits.
        records: a folder with gzip TFRecords in `train/`, `validation/` and `test/`, local or remote.
        dataset: what `records` holds; the data sets that are built know it themselves, and a folder that
            `model-patching data build` has made says it in its manifest.
        features: names of the features of `records` where they aren't this project's; they are then converted before
            the first node, and may be plain or gzip. The folder is on a local disk.
        image: what the conversion does to images of another size or kind.
        skip_bad: records that the conversion leaves out since they are bad, at most.
        min_examples_per_group: how many each split must have of each group for a training to begin.
    """

    mnist_correlation: MnistCorrelationSettings | None = None
    records: Annotated[str, Field(min_length=1)] | None = None
    dataset: Dataset | None = None
    features: RecordFeatures | None = None
    image: ImageSettings = ImageSettings()
    skip_bad: Annotated[int, Field(ge=0)] = 0
    min_examples_per_group: ExampleGateSettings = ExampleGateSettings()

    @model_validator(mode="after")
    def _one_source(self) -> "DataSettings":
        if (self.mnist_correlation is None) == (self.records is None):
            raise ValueError("give exactly one of mnist_correlation and records")
        if self.records is not None and self.dataset is None:
            raise ValueError(
                "records needs dataset: classes, subgroups and image_shape; "
                "only a folder that `model-patching data build` has made says it itself"
            )
        if self.records is None and self.dataset is not None:
            raise ValueError("dataset goes with records only, mnist_correlation has its own")
        if self.records is None and self.features is not None:
            raise ValueError("features goes with records only")
        if self.features is None and (self.image != ImageSettings() or self.skip_bad):
            raise ValueError("image and skip_bad go with features only, other records are taken as they are")
        if self.features is not None:
            if _is_remote(self.records):
                raise ValueError("features: the records must be on a local disk, they are converted")
            self.features.check_dataset(self.dataset)
        return self

    @property
    def name(self) -> str:
        """For the report: "mnist_correlation", or the last part of the records' folder."""
        return mnist_correlation.NAME if self.records is None else self.records.rstrip("/").rsplit("/", 1)[-1]

    @property
    def description(self) -> Dataset:
        """Classes, subgroups and image shape of the records."""
        if self.mnist_correlation is not None:
            return mnist_correlation.dataset(self.mnist_correlation)
        return self.dataset

    @property
    def source(self) -> RecordsSource:
        """What is converted, with `features`."""
        return RecordsSource(self.records, self.features, self.dataset)


class TranslationSettings(CycleGANTrainerSettings, TranslationThresholds):
    """The CycleGANTrainer's settings, how many of it there are, and what its translators must reach.

    Attributes:
        per_class: one model of translators for each class, each its own node, instead of one for all classes.
    """

    per_class: bool = False

    @property
    def trainer(self) -> CycleGANTrainerSettings:
        """What trains; a change of anything else leaves the trained translators in the cache."""
        return CycleGANTrainerSettings(
            **{key: getattr(self, key) for key in CycleGANTrainerSettings.model_fields}
        )

    @property
    def thresholds(self) -> TranslationThresholds:
        """What the Augmenter asks for."""
        return TranslationThresholds(
            **{key: getattr(self, key) for key in TranslationThresholds.model_fields}
        )


class BaselineSettings(RobustTrainerSettings):
    """The ERM model that `evaluation.baseline: erm` compares with: how one trains without a thought of subgroups.

    As the RobustTrainer's settings, but the method is fixed, the epoch is selected by the average accuracy, and the
    seed is the RobustTrainer's where none is given.
    """

    method: Literal["erm"] = "erm"
    selection: Literal["worst_group", "average", "last"] = "average"

    @model_validator(mode="after")
    def _has_no_patched_examples(self) -> "BaselineSettings":
        if self.uses_patches:
            raise ValueError(
                "the baseline has no patched images: consistency must be none, augmentation_training original"
            )
        return self


class PipelineConfig(Settings):
    """Everything that decides a pipeline.

    Attributes:
        pipeline_name: names the pipeline in ML Metadata and its folder under `root`.
        root: folder of everything that runs leave: metadata, artifacts, built data and logs.
        seed: fixes the result on a CPU.
        data: the records.
        patching: where patched examples come from, where the training needs them.
        translation: the CycleGANTrainers, where patched examples are made.
        augmentation: the Augmenter, likewise.
        training: the RobustTrainer.
        baseline: the ERM model beside it, for `evaluation.baseline: erm`.
        evaluation: the gate.
        report: the SubgroupReport.
        tracking: Weights & Biases.
        beam_pipeline_args: options of Apache Beam for every Beam node. The default runs them in this process.
        kubeflow: the cluster, for `model-patching kubeflow`; runs on this machine don't look at it.
        vertex: likewise what Vertex AI gives, for `model-patching vertex`.
    """

    pipeline_name: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")] = "model_patching"
    root: Annotated[str, Field(min_length=1)] = "runs"
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 1
    data: DataSettings
    patching: PatchingSettings = PatchingSettings()
    translation: TranslationSettings = TranslationSettings()
    augmentation: AugmenterSettings = AugmenterSettings()
    training: RobustTrainerSettings = RobustTrainerSettings()
    baseline: BaselineSettings = BaselineSettings()
    evaluation: EvaluatorSettings = EvaluatorSettings()
    report: SubgroupReportSettings = SubgroupReportSettings()
    tracking: TrackingSettings = TrackingSettings()
    beam_pipeline_args: tuple[Annotated[str, Field(pattern="^--")], ...] = (IN_PROCESS_RUNNER,)
    kubeflow: KubeflowSettings | None = None
    vertex: VertexSettings | None = None

    @model_validator(mode="after")
    def _patched_examples_are_made(self) -> "PipelineConfig":
        if self.training.uses_patches and "train" not in self.augmentation.splits:
            raise ValueError("augmentation.splits must have train, the training learns from patched examples")
        largest = max(self.data.description.image_shape[:2])
        if self.trains_translators and largest > 256 and self.translation.generator_filters is None:
            raise ValueError(
                f"translation.generator_filters: must be set, no published generator is for images of {largest} pixels"
            )
        return self

    @model_validator(mode="after")
    def _slices_with_thresholds_are_there(self) -> "PipelineConfig":
        self.evaluation.check_groups(self.data.description)
        return self

    @model_validator(mode="after")
    def _published_patches_fit(self) -> "PipelineConfig":
        if not self.reads_published_patches:
            return self
        if self.data.records is None or self.data.features is not None:
            raise ValueError(
                "patching.source: published needs data.records that `model-patching data build` has made of the "
                "published record files"
            )
        if self.data.description.num_subgroups != 2:
            raise ValueError(
                "patching.source: published patched images are of 2 subgroups, the data set has "
                f"{self.data.description.num_subgroups}"
            )
        for name, asked in self.translation.thresholds:
            if asked is not None:
                raise ValueError(
                    f"translation.{name}: can't be checked with patching.source: published, which comes without "
                    "diagnoses; set it to null"
                )
        return self

    @property
    def trains_translators(self) -> bool:
        """Whether there are CycleGANTrainers and an Augmenter."""
        return self.training.uses_patches and self.patching.source == "cyclegan"

    @property
    def reads_published_patches(self) -> bool:
        """Whether there is a PublishedPatches in their place."""
        return self.training.uses_patches and self.patching.source == "published"

    @property
    def source_order(self) -> str:
        """The file beside the records that says in which order their source had them, if it had one."""
        return f"{self.records_dir}/{SOURCE_ORDER}"

    @cached_property
    def records_dir(self) -> str:
        """Folder of the records, given or to be built; a built one's name stands for everything that decides it.

        Raises:
            SourceError: records that are to be converted can't be read.
        """
        if self.data.mnist_correlation is not None:
            fingerprint = mnist_correlation.fingerprint(self.data.mnist_correlation, self.seed)
        elif self.data.features is not None:
            from model_patching.data.convert import (
                conversion_inputs,  # here and not above: it loads TensorFlow
            )

            inputs = conversion_inputs(self.data.source, CONVERSION_SEED, self.data.image)
            fingerprint = inputs_fingerprint(inputs)
        else:
            return str(self.data.records).rstrip("/")
        return f"{self.root}/data/{self.data.name}-{fingerprint}"

    @property
    def training_seed(self) -> int:
        """The RobustTrainer's seed."""
        return self.seed if self.training.seed is None else self.training.seed

    @property
    def pipeline_root(self) -> str:
        """Folder of the pipeline's artifacts."""
        return f"{self.root}/{self.pipeline_name}"

    @property
    def checkpoints_dir(self) -> str:
        """Folder of the checkpoints that a stopped training goes on from, a folder for each node."""
        return f"{self.pipeline_root}/checkpoints"

    @property
    def serving_dir(self) -> str:
        """Folder of the pushed models, one subfolder a version, as TensorFlow Serving wants it."""
        return f"{self.pipeline_root}/serving"

    @property
    def metadata_path(self) -> str:
        """The ML Metadata store, a SQLite file."""
        return f"{self.root}/metadata.sqlite"

    @property
    def nodes_dir(self) -> str:
        """Folder of `<run id>/<node>.json`, how each node went, and its artifacts: see `run_node`."""
        return f"{self.pipeline_root}/{NODES}"

    @property
    def logs_dir(self) -> str:
        """Folder where the local runner leaves `<run id>.log`."""
        return f"{self.root}/logs"


def preset_names() -> list[str]:
    """Names of the presets that come with the project, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_title(name: str) -> str:
    """The first line of a preset's opening comment; empty without one."""
    first = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def load_config(
    preset_or_path: str, overrides: Sequence[str] = (), files_are_here: bool = True
) -> PipelineConfig:
    """Reads a configuration and checks it whole.

    Args:
        preset_or_path: name of a preset, or path of a YAML file (it has a "/" or ends with .yaml or .yml).
        overrides: "key.of.the.tree=value", values as YAML writes them.
        files_are_here: whether to look for the files that it names; those of a cluster aren't on this machine.

    Raises:
        ConfigError: one line for each mistake.
    """
    path = _config_path(preset_or_path)
    return config_from_tree(_read_yaml(path, preset_or_path), preset_or_path, overrides, files_are_here)


def config_from_tree(
    tree: dict[str, Any], source: str, overrides: Sequence[str] = (), files_are_here: bool = True
) -> PipelineConfig:
    """Checks a tree of JSON values with its overrides, which are put into it; `source` is what the messages name.

    Raises:
        ConfigError: one line for each mistake.
    """
    for override in overrides:
        _apply(override, tree, source)
    tree = _add_dataset(tree, source)
    try:
        config = PipelineConfig.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        lines = [_describe(mistake, source) for mistake in _mistakes(error)]
        raise ConfigError("\n".join(lines)) from None
    if not files_are_here:
        return config
    _check_records(config, source)
    _check_published_patches(config, source)
    _check_weights(config, source)
    return config


def config_as_yaml(config: PipelineConfig) -> str:
    """The whole tree with every default, as YAML that `load_config` reads back to the same."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _config_path(preset_or_path: str) -> Path:
    if "/" in preset_or_path or preset_or_path.endswith((".yaml", ".yml")):
        path = Path(preset_or_path)
        if not path.is_file():
            raise ConfigError(f"{preset_or_path}: there is no such file")
        return path
    names = preset_names()
    if preset_or_path not in names:
        raise ConfigError(
            f"{preset_or_path}: there is no such preset{_suggestion(preset_or_path, names)}; "
            f"presets: {', '.join(names) or 'none'}; a file is given as a path that ends with .yaml"
        )
    return PRESETS / f"{preset_or_path}.yaml"


def _read_yaml(path: Path, source: str) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), YamlLoader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: can't be read: {_one_line(error)}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: {_yaml_problem(error)}") from None
    if tree is None:
        raise ConfigError(f"{source}: the file is empty")
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: must be a mapping of keys to values")
    return tree


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + _one_line(getattr(error, "problem", None) or error)


def _apply(override: str, tree: dict[str, Any], source: str) -> None:
    """Sets one `key.path=value` in the tree, in place."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(
            f"{source}: --set {override}: give it as key=value, for example --set training.epochs=5"
        )
    try:
        value = yaml.load(text, YamlLoader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{source}: --set {override}: the value isn't YAML: {_yaml_problem(error)}"
        ) from None
    for key in keys[:-1]:
        child = tree.get(key)
        if child is None:
            child = tree[key] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"{source}: --set {override}: '{key}' has no keys of its own")
        tree = child
    tree[keys[-1]] = value


def _mistakes(error: ValidationError) -> list[dict[str, Any]]:
    """Pydantic's errors, without those that follow from others: it counts a list's entries without the bad ones."""
    found = [dict(mistake) for mistake in error.errors(include_url=False)]
    with_bad_entries = {mistake["loc"][:-1] for mistake in found}
    return [
        mistake
        for mistake in found
        if mistake["type"] != "too_short" or mistake["loc"] not in with_bad_entries
    ]


def _describe(mistake: dict[str, Any], source: str) -> str:
    """One of pydantic's errors as a line: source, path of the key, and what is wrong."""
    kind, value, context = mistake["type"], mistake["input"], mistake.get("ctx", {})
    location = mistake["loc"]
    shown = _shown(value)
    if kind == "extra_forbidden":
        known = list(_settings_at(location[:-1]).model_fields)
        text = f"unknown key{_suggestion(str(location[-1]), known) or '; known are ' + ', '.join(known)}"
    elif kind == "missing":
        text = "is missing"
    elif kind in ("int_type", "int_parsing", "int_from_float"):
        text = f"{shown} is not an integer"
    elif kind in ("float_type", "float_parsing", "finite_number"):
        text = f"{shown} is not a number"
    elif kind in ("bool_type", "bool_parsing"):
        text = f"{shown} is not true or false"
    elif kind == "string_type":
        text = f"{shown} is not a text; put it in quotes if it is meant as one"
    elif kind == "literal_error":
        expected = context["expected"].replace("'", "").replace(" or ", ", ")
        text = f"{shown} is not one of {expected}" if "," in expected else f"{shown} is not {expected}"
    elif kind == "string_pattern_mismatch":
        text = f"{shown} doesn't match {context['pattern']}"
    elif kind in ("model_type", "dict_type"):
        text = f"{shown} is not a mapping of keys to values"
    elif kind == "tuple_type":
        text = f"{shown} is not a list"
    elif kind == "too_short":
        text = f"{shown} must have at least {context['min_length']} entries"
    elif kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than"):
        limit = next(iter(context.values()))
        words = {
            "greater_than_equal": "at least",
            "less_than_equal": "at most",
            "greater_than": "greater than",
            "less_than": "less than",
        }
        text = f"{shown} is not {words[kind]} {limit}"
    elif kind == "value_error":
        text = str(context["error"])
    else:
        text = f"{mistake['msg']}, got {shown}"
    path = ".".join(str(part) for part in location)
    return ": ".join(part for part in (source, path, _one_line(text)) if part)


def _settings_at(location: Sequence[str | int]) -> type[Settings]:
    """The settings class of a place in the tree."""
    found: type[Settings] = PipelineConfig
    for key in location:
        # Numbers of a list's entries and keys of a free mapping are no fields; the class is that of the field above.
        if key in found.model_fields:
            found = next(_settings_classes(found.model_fields[key].annotation), found)
    return found


def _settings_classes(annotation: Any) -> Iterator[type[Settings]]:
    """Settings classes in `X`, `X | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for argument in get_args(annotation):
        yield from _settings_classes(argument)


def _is_remote(folder: str) -> bool:
    return "://" in folder


def _add_dataset(tree: dict[str, Any], source: str) -> dict[str, Any]:
    """The tree with `data.dataset` as the manifest of `data.records` has it, where there is one.

    Raises:
        ConfigError: the tree has another one.
    """
    data = tree.get("data")
    records = data.get("records") if isinstance(data, dict) else None
    if not isinstance(records, str) or _is_remote(records) or data.get("features") is not None:
        return tree
    path = Path(records, MANIFEST)
    if not path.is_file():
        return tree
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("dataset")
        if found is None:
            return tree
        described = Dataset.model_validate_json(json.dumps(found))
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{source}: data.records: {path} can't be read: {_one_line(error)}") from None
    given = data.get("dataset")
    if given is None:
        return {**tree, "data": {**data, "dataset": described.model_dump(mode="json")}}
    for key, value in described.model_dump(mode="json").items():
        if isinstance(given, dict) and key in given and given[key] != value:
            raise ConfigError(
                f"{source}: data.dataset.{key}: {_shown(given[key])}, but {path} says {_shown(value)}; "
                "leave dataset out, or give other records"
            )
    return tree


def _check_records(config: PipelineConfig, source: str) -> None:
    """Looks for the files of `data.records`, unless it is remote."""
    folder = config.data.records
    if folder is None or _is_remote(folder):
        return
    for split in SPLITS:
        if config.data.features is not None:
            try:
                record_files(folder, split)
            except SourceError as error:
                raise ConfigError(f"{source}: data.records: {error}") from None
            continue
        if not any(Path(folder, split).glob("*.tfrecord.gz")):
            raise ConfigError(f"{source}: data.records: {folder}/{split} has no .tfrecord.gz files")


def _check_published_patches(config: PipelineConfig, source: str) -> None:
    """Looks for the published folder and for the order of the records, unless they are remote."""
    if not config.reads_published_patches:
        return
    folder, order = str(config.patching.folder), config.source_order
    if "://" not in folder and not Path(folder).is_dir():
        raise ConfigError(f"{source}: patching.folder: there is no folder {folder}")
    if "://" not in order and not Path(order).is_file():
        raise ConfigError(
            f"{source}: patching.source: published needs {order}, which is there when `model-patching data "
            "build` has made the records of the published record files"
        )
    manifest = Path(config.records_dir, MANIFEST)
    if manifest.is_file():
        made_of = json.loads(manifest.read_text(encoding="utf-8"))["inputs"]["source"]
        if made_of.get("takes"):
            raise ConfigError(
                f"{source}: patching.source: published patches are of the first images of a group, but {manifest} says "
                "that a seed has drawn them; build the records with --take none"
            )


def _check_weights(config: PipelineConfig, source: str) -> None:
    """Looks for the files of `weights`."""
    for key, settings in (("training", config.training), ("baseline", config.baseline)):
        if settings.weights not in ("none", "imagenet") and not Path(settings.weights).is_file():
            raise ConfigError(
                f"{source}: {key}.weights: there is no file {settings.weights}; give one, none or imagenet"
            )


def _suggestion(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def _shown(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
