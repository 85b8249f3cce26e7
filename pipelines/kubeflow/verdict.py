"""A run's last step: prints the table of groups, the gate's verdict and where things are, as a run on one machine does.

    python -m model_patching.pipelines.kubeflow.verdict --run-id ID --metadata URL --blessed-output FILE

The file gets true, false, or null where there is no gate. All other steps are done by then: a run that is red for what
comes after this one alone has its report, and a model that was not pushed.

Exit codes: 0 printed, whatever the verdict; 1 failed; 2 ML Metadata can't be had.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from model_patching.pipelines.console import say
from model_patching.pipelines.metadata_store import check_store, connection_config
from model_patching.pipelines.step import run_step


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the arguments and prints; the exit code is 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run-id", required=True, help="id of the run")
    parser.add_argument("--metadata", required=True, help="URL of the ML Metadata store")
    parser.add_argument(
        "--blessed-output", required=True, type=Path, help="file that gets the gate's verdict"
    )
    given = parser.parse_args(arguments)
    check_store(given.metadata)

    from model_patching.pipelines.closing import say_closing

    say(f"run      {given.run_id}")
    blessed, _ = say_closing(connection_config(given.metadata), given.run_id)
    given.blessed_output.parent.mkdir(parents=True, exist_ok=True)
    given.blessed_output.write_text(json.dumps(blessed))
    return 0


if __name__ == "__main__":
    run_step(main)
