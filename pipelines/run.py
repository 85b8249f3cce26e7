"""One run of a pipeline as a person sees it, whichever way it was started."""

import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import rich

from model_patching.pipelines.config import PipelineConfig
from model_patching.pipelines.console import output_moved_to, say, working_on
from model_patching.pipelines.exit_codes import DONE, FAILED, INTERRUPTED, NOT_BLESSED


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        code: 0 (done), 1 (a node has failed), 3 (the model wasn't blessed) or 130 (interrupted).
        summary: path of its `summary.json`; None where it came to none.
    """

    code: int
    summary: Path | None = None


def run(config: PipelineConfig) -> Outcome:
    """Runs a configuration's pipeline on this machine and prints how it goes; the rest of the output goes to a log.

    Under `tfx pipeline create`, which only asks what the pipeline is, no node runs.
    """
    run_id = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    log = Path(config.logs_dir) / f"{run_id}.log"
    try:
        with output_moved_to(log):
            return _run(config, run_id, log)
    except OSError as error:
        print(
            f"{log} can't be written: {error.strerror or error}; choose another folder with root",
            file=sys.stderr,
        )
        return Outcome(FAILED)


def _run(config: PipelineConfig, run_id: str, log: Path) -> Outcome:
    """As `run`, with the output moved away already. Raises nothing."""
    try:
        finished, blessed, summary = _run_pipeline(config, run_id, log)
    except KeyboardInterrupt:
        say(f"interrupted; run the same command to go on  (log: {log})")
        return Outcome(INTERRUPTED)
    except Exception as error:
        logging.getLogger(__name__).exception("the run has failed")
        from model_patching.pipelines.errors import what_failed

        what, reason = what_failed(error)
        say(f"✗ {what} failed", style="bold red")
        say(reason)
        say(f"log      {log}")
        return Outcome(FAILED)
    if finished:
        say(f"log      {log}")
    return Outcome(NOT_BLESSED if blessed is False else DONE, summary)


def _run_pipeline(config: PipelineConfig, run_id: str, log: Path) -> tuple[bool, bool | None, Path | None]:
    """Returns whether anything ran, whether the model was blessed (None if nobody asks), and its summary's path."""
    if "tfx" not in sys.modules and not rich.get_console().is_terminal:
        say("loading TFX …")
    with working_on("loading TFX"):
        from absl import logging as absl_logging

        from model_patching.data.beam_buffers import turn_off_timed_flush
        from model_patching.pipelines.check_networks import check_networks
        from model_patching.pipelines.closing import say_closing
        from model_patching.pipelines.metadata_store import sqlite_config
        from model_patching.pipelines.pipeline import create_pipeline
        from model_patching.pipelines.runner import LocalRunner

    os.environ["WANDB_RUN_GROUP"] = run_id
    pipeline = create_pipeline(config)
    logging.basicConfig(
        filename=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    absl_logging.set_verbosity(absl_logging.INFO)
    turn_off_timed_flush()
    check_networks(config)
    # Nothing comes back if `tfx pipeline create` has put its own function in place of the runner's.
    finished = LocalRunner(config, run_id).run(pipeline) is not None
    if not finished:
        return finished, None, None
    return finished, *say_closing(sqlite_config(config.metadata_path), run_id)
