"""What `tfx pipeline create --pipeline_path pipelines/local_runner.py` is pointed at.

The TFX CLI runs this file to learn what the pipeline is, and again for every `tfx run create`. It passes nothing on, so
the preset and overrides come from the environment:

    MODEL_PATCHING_PRESET  name of a preset or path of a YAML file; default: demo
    MODEL_PATCHING_SET     overrides as on a command line: "training.epochs=5 seed=2"
"""

import os
import shlex
import sys
from pathlib import Path

# As a script, this file's folder is first on the path, where `config`, `errors` or `run` would hide other packages'
# modules of these names. The project itself is imported as `model_patching` only.
_here = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _here]

from model_patching.pipelines.config import ConfigError, load_config  # noqa: E402
from model_patching.pipelines.exit_codes import BAD_INPUT  # noqa: E402
from model_patching.pipelines.run import run  # noqa: E402


def main() -> int:
    """Reads the configuration and runs it; the exit code is as `model-patching run`'s."""
    try:
        overrides = shlex.split(os.environ.get("MODEL_PATCHING_SET", ""))
        config = load_config(os.environ.get("MODEL_PATCHING_PRESET", "demo"), overrides)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except ValueError as error:
        print(f"MODEL_PATCHING_SET: {error}", file=sys.stderr)
        return BAD_INPUT
    return run(config).code


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        sys.path.insert(0, str(_here))  # the TFX CLI removes the first entry when this file is done
