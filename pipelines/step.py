"""How the process of a step ends: everything said, the reason of a failure last, the right exit code."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import rich
from absl import logging as absl_logging

from model_patching.pipelines.config import ConfigError
from model_patching.pipelines.console import PLAIN_WIDTH
from model_patching.pipelines.errors import what_failed
from model_patching.pipelines.exit_codes import BAD_INPUT, FAILED
from model_patching.pipelines.metadata_store import StoreError

# What Kubernetes shows as the reason why a container has ended, and Kubeflow at the step.
TERMINATION_LOG = Path("/dev/termination-log")


def run_step(work: Callable[[], int]) -> NoReturn:
    """Does a step's work and ends the process with the exit code that it returns, or after a failure with:

    - 2 where the configuration is wrong or ML Metadata can't be had;
    - 1 where anything else has failed.

    The process ends without tearing down the interpreter: threads of TensorFlow, Beam and ML Metadata may crash it
    there, after all is done and recorded, and a crash would be a failed step.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    absl_logging.set_verbosity(absl_logging.INFO)
    rich.reconfigure(width=PLAIN_WIDTH)
    reason = ""
    try:
        code = work()
    except (ConfigError, StoreError) as error:
        code, reason = BAD_INPUT, str(error)
    except Exception as error:
        logging.getLogger(__name__).exception("the step has failed")
        code, reason = FAILED, "✗ {} failed: {}".format(*what_failed(error))
    end_step(code, reason)


def end_step(code: int, reason: str) -> NoReturn:
    """Ends the process from any of its threads, with the reason, where there is one, as the last that it says."""
    logging.shutdown()
    sys.stdout.flush()
    if reason:
        print(reason, file=sys.stderr)
    sys.stderr.flush()
    with contextlib.suppress(OSError):  # whatever happens to the reason, the step must end
        if reason and TERMINATION_LOG.exists():
            TERMINATION_LOG.write_text(reason)
    os._exit(code)
