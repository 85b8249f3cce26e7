"""The one settings tree of a pipeline, where it comes from, and what is wrong with it in one line each.

Nothing here imports TensorFlow or TFX: a mistake in the configuration is told before they are loaded.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from model_patching.components.augmenter.settings import AugmenterSettings
from model_patching.components.augmenter.thresholds import TranslationThresholds
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.evaluator.settings import EvaluatorSettings
from model_patching.components.robust_trainer.settings import RobustTrainerSettings
from model_patching.components.subgroup_report.settings import SubgroupReportSettings
from model_patching.components.tracking import TrackingSettings
from model_patching.data import mnist_correlation
from model_patching.data.dataset import SPLITS, Dataset
from model_patching.data.mnist_correlation import MnistCorrelationSettings
from model_patching.data.settings import Settings
from model_patching.pipelines.yaml_loader import YamlLoader

PRESETS = Path(__file__).parent / "configs"
# Beam's "DirectRunner" would first download another runner, a program of its own, from the internet.
IN_PROCESS_RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
LARGEST_SEED = 2**20  # nodes derive their seeds from it by small multiples, in int32


class ConfigError(ValueError):
    """A configuration can't be used. Each line of the message names the file or preset, the key and the way out."""


class DataSettings(Settings):
    """Where the records come from: a data set that is built, or records that are there.

    Attributes:
        mnist_correlation: builds MNIST-Correlation from the embedded digits.
        records: a folder with gzip TFRecords in `train/`, `validation/` and `test/`, local or remote.
        dataset: what `records` holds; the data sets that are built know it themselves.
    """

    mnist_correlation: MnistCorrelationSettings | None = None
    records: Annotated[str, Field(min_length=1)] | None = None
    dataset: Dataset | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "DataSettings":
        if (self.mnist_correlation is None) == (self.records is None):
            raise ValueError("give exactly one of mnist_correlation and records")
        if self.records is not None and self.dataset is None:
            raise ValueError("records needs dataset: classes, subgroups and image_shape")
        if self.records is None and self.dataset is not None:
            raise ValueError("dataset goes with records only, mnist_correlation has its own")
        return self

    @property
    def name(self) -> str:
        """For the report: "mnist_correlation", or the last part of the records' folder."""
        return mnist_correlation.NAME if self.records is None else self.records.rstrip("/").rsplit("/", 1)[-1]

    @property
    def description(self) -> Dataset:
        """Classes, subgroups and image shape of the records."""
        return mnist_correlation.dataset() if self.dataset is None else self.dataset


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
        translation: the CycleGANTrainers, where the training needs patched examples.
        augmentation: the Augmenter, likewise.
        training: the RobustTrainer.
        baseline: the ERM model beside it, for `evaluation.baseline: erm`.
        evaluation: the gate.
        report: the SubgroupReport.
        tracking: Weights & Biases.
        beam_pipeline_args: options of Apache Beam for every Beam node. The default runs them in this process.
    """

    pipeline_name: Annotated[str, Field(pattern=r"^[a-z0-9_-]+$")] = "model_patching"
    root: Annotated[str, Field(min_length=1)] = "runs"
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 1
    data: DataSettings
    translation: TranslationSettings = TranslationSettings()
    augmentation: AugmenterSettings = AugmenterSettings()
    training: RobustTrainerSettings = RobustTrainerSettings()
    baseline: BaselineSettings = BaselineSettings()
    evaluation: EvaluatorSettings = EvaluatorSettings()
    report: SubgroupReportSettings = SubgroupReportSettings()
    tracking: TrackingSettings = TrackingSettings()
    beam_pipeline_args: tuple[Annotated[str, Field(pattern="^--")], ...] = (IN_PROCESS_RUNNER,)

    @model_validator(mode="after")
    def _patched_examples_are_made(self) -> "PipelineConfig":
        if self.training.uses_patches and "train" not in self.augmentation.splits:
            raise ValueError("augmentation.splits must have train, the training learns from patched examples")
        largest = max(self.data.description.image_shape[:2])
        if self.training.uses_patches and largest > 256 and self.translation.generator_filters is None:
            raise ValueError(
                f"translation.generator_filters: must be set, no published generator is for images of {largest} pixels"
            )
        return self

    @property
    def records_dir(self) -> str:
        """Folder of the records, given or to be built; a built one's name stands for its settings and seed."""
        if self.data.mnist_correlation is None:
            return str(self.data.records)
        fingerprint = mnist_correlation.fingerprint(self.data.mnist_correlation, self.seed)
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
    def timings_dir(self) -> str:
        """Folder where the local runner leaves `<run id>.json`: {node: {"seconds": …, "cached": …}}."""
        return f"{self.pipeline_root}/timings"

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


def load_config(preset_or_path: str, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Reads a configuration and checks it whole.

    Args:
        preset_or_path: name of a preset, or path of a YAML file (it has a "/" or ends with .yaml or .yml).
        overrides: "key.of.the.tree=value", values as YAML writes them.

    Raises:
        ConfigError: one line for each mistake.
    """
    path = _config_path(preset_or_path)
    tree = _read_yaml(path, preset_or_path)
    for override in overrides:
        _apply(override, tree, preset_or_path)
    return config_from_tree(tree, preset_or_path)


def config_from_tree(tree: dict[str, Any], source: str) -> PipelineConfig:
    """Checks a tree of JSON values; `source` is what the messages name.

    Raises:
        ConfigError: one line for each mistake.
    """
    try:
        config = PipelineConfig.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        lines = [_describe(mistake, source) for mistake in _mistakes(error)]
        raise ConfigError("\n".join(lines)) from None
    _check_records(config, source)
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
        annotation = found.model_fields[str(key)].annotation
        found = next(_settings_classes(annotation))
    return found


def _settings_classes(annotation: Any) -> Iterator[type[Settings]]:
    """Settings classes in `X`, `X | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for argument in get_args(annotation):
        yield from _settings_classes(argument)


def _check_records(config: PipelineConfig, source: str) -> None:
    """Looks for the files of `data.records`, unless it is remote."""
    folder = config.data.records
    if folder is None or "://" in folder:
        return
    for split in SPLITS:
        if not any(Path(folder, split).glob("*.tfrecord.gz")):
            raise ConfigError(f"{source}: data.records: {folder}/{split} has no .tfrecord.gz files")


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
