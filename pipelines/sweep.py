"""`model-patching sweep`: one pipeline, run once for each seed of the classifier's training."""

from collections.abc import Mapping
from pathlib import Path

import rich

from model_patching.pipelines.compare_runs import compare_runs, comparison_table, write_comparison
from model_patching.pipelines.config import PipelineConfig
from model_patching.pipelines.console import say
from model_patching.pipelines.run import FAILED, INTERRUPTED, run


def sweep(configs: Mapping[int, PipelineConfig]) -> int:
    """Runs the configurations one after the other and compares them.

    What doesn't depend on the seed, and every run that was done before, comes from TFX's cache; a training that was
    stopped goes on. So the same call continues an interrupted sweep.

    Args:
        configs: by seed; they differ in nothing else.

    Returns:
        The exit code: 0, 1 (a run has failed, the later ones didn't start) or 130 (interrupted).
    """
    summaries = []
    for number, (seed, config) in enumerate(configs.items(), start=1):
        say(f"— seed {seed}, run {number} of {len(configs)} —", style="bold")
        outcome = run(config)
        if outcome.code in (FAILED, INTERRUPTED):
            return outcome.code
        if outcome.summary is not None:
            summaries.append(outcome.summary)
    if not summaries:
        return 0
    methods = compare_runs(summaries)
    rich.get_console().print(comparison_table(methods))
    folder = Path(config.pipeline_root) / "sweeps" / f"seeds-{'-'.join(map(str, configs))}"
    for path in write_comparison(methods, folder):
        say(str(path))
    return 0
