"""`model-patching sweep`: pipelines, each run once for each seed of the classifier's training, and compared."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import rich

from model_patching.pipelines.compare_runs import compare_runs, comparison_table, write_comparison
from model_patching.pipelines.config import PipelineConfig
from model_patching.pipelines.console import output_moved_to, say
from model_patching.pipelines.exit_codes import FAILED, INTERRUPTED
from model_patching.pipelines.run import run


class NotComparable(ValueError):
    """The presets of a sweep can't be compared. One line that names two of them."""


def sweep(configs: Mapping[str, Sequence[PipelineConfig]]) -> int:
    """Checks the configurations, runs them one after the other, and compares the methods.

    What doesn't depend on the seed or the method, and every run that was done before, comes from TFX's cache; a
    training that was stopped goes on. So the same call continues an interrupted sweep.

    Args:
        configs: by preset, or path of a file: the same configuration with different seeds of the training.

    Returns:
        The exit code: 0, 1 (a run has failed, the later ones didn't start) or 130 (interrupted).

    Raises:
        NotComparable: two presets have the same training or different data sets. Nothing has run.
        ValueError: a network can't be built, see `check_networks`. Nothing has run.
        WrongRun: a run's test split has no examples.
        OSError: the comparison can't be written.
    """
    _check_comparable(configs)
    with output_moved_to(Path(os.devnull)):
        from model_patching.pipelines.check_networks import check_networks

        for config, *_ in configs.values():
            check_networks(config)
    runs = [(preset, config) for preset, ones in configs.items() for config in ones]
    summaries = []
    for number, (preset, config) in enumerate(runs, start=1):
        say(f"— {preset}, seed {config.training.seed}, run {number} of {len(runs)} —", style="bold")
        outcome = run(config)
        if outcome.code in (FAILED, INTERRUPTED):
            return outcome.code
        if outcome.summary is not None:
            summaries.append(outcome.summary)
    if not summaries:
        return 0
    methods = compare_runs(summaries)
    rich.get_console().print(comparison_table(methods))
    for path in write_comparison(methods, _folder(configs)):
        say(str(path))
    return 0


def _check_comparable(configs: Mapping[str, Sequence[PipelineConfig]]) -> None:
    preset_of: dict[str, str] = {}
    first_preset, (first, *_) = next(iter(configs.items()))
    for preset, (config, *_) in configs.items():
        training = config.training.model_dump_json()
        if training in preset_of:
            raise NotComparable(
                f"{preset_of[training]} and {preset}: they have the same settings of training"
            )
        preset_of[training] = preset
        if config.records_dir != first.records_dir:
            raise NotComparable(
                f"{first_preset} and {preset}: their records differ, {first.records_dir} and {config.records_dir}"
            )
        if config.data.description != first.data.description:
            raise NotComparable(f"{first_preset} and {preset}: their data.dataset differs")


def _folder(configs: Mapping[str, Sequence[PipelineConfig]]) -> Path:
    """Where the comparison goes: a folder of the first pipeline, named for presets, seeds and all other settings."""
    first = next(iter(configs.values()))
    presets = [Path(preset).stem for preset in configs]
    seeds = [str(config.training.seed) for config in first]
    settings = "".join(config.model_dump_json() for ones in configs.values() for config in ones)
    mark = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return Path(first[0].pipeline_root) / "sweeps" / "-".join([*presets, "seeds", *seeds, mark])
