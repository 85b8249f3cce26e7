"""Makes a configuration's records before its first node, where they aren't there yet."""

import time
from pathlib import Path

from model_patching.components.subgroup_report.text import seconds as seconds_text
from model_patching.data import mnist_correlation
from model_patching.pipelines.config import CONVERSION_SEED, PipelineConfig
from model_patching.pipelines.console import say, working_on
from model_patching.pipelines.errors import NodeFailed, one_paragraph


def build_records(config: PipelineConfig) -> None:
    """Makes the records, where the configuration asks for that, and prints a line when they were made.

    Raises:
        NodeFailed: they can't be made.
    """
    data = config.data
    if data.mnist_correlation is not None:
        name, build = "MNIST-Correlation", _build_mnist_correlation
    elif data.features is not None:
        name, build = data.name, _convert_records
    else:
        return
    started = time.monotonic()
    folder = Path(config.records_dir)
    was_there = folder.exists()
    try:
        with working_on(name):
            skipped = build(config, folder)
    except Exception as error:
        raise NodeFailed(f"building {name}", one_paragraph(error)) from error
    if was_there:
        return
    say(f"✓ {name}  {seconds_text(time.monotonic() - started)}")
    for record in skipped:
        say(f"  skipped {record['place']}: {record['reason']}")


def _build_mnist_correlation(config: PipelineConfig, folder: Path) -> list[dict[str, str]]:
    mnist_correlation.build(config.data.mnist_correlation, config.seed, folder)
    return []


def _convert_records(config: PipelineConfig, folder: Path) -> list[dict[str, str]]:
    """Returns the records that were left out."""
    from model_patching.data.convert import convert  # here and not above: few pipelines need it

    manifest = convert(
        config.data.source,
        folder,
        CONVERSION_SEED,
        image=config.data.image,
        skip_bad=config.data.skip_bad,
        beam_pipeline_args=config.beam_pipeline_args,
    )
    return manifest["skipped"]
