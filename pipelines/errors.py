"""How a failed node is told to a person."""

import traceback

LONGEST_REASON = 1000  # characters


class NodeFailed(Exception):
    """A node has failed.

    Attributes:
        node: its id.
        reason: one paragraph, from the exception that it raised.
    """

    def __init__(self, node: str, reason: str):
        super().__init__(f"{node} failed: {reason}")
        self.node = node
        self.reason = reason


def what_failed(error: Exception) -> tuple[str, str]:
    """What an exception stopped, "RobustTrainer" or "run", and the reason in one paragraph."""
    return (error.node, error.reason) if isinstance(error, NodeFailed) else ("run", one_paragraph(error))


def one_paragraph(error: BaseException) -> str:
    """What an exception says, without tracebacks: "KeyError: 'label'".

    Beam raises a worker's exception again with the worker's traceback as its message; there the last line counts.
    """
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        text = next(line for line in reversed(lines) if not line.startswith(("[while running", "File ", "^")))
    text = " ".join(text.split(" [while running ")[0].split())
    kind = type(error).__name__
    if not text.startswith(f"{kind}:"):
        text = f"{kind}: {text}" if text else kind
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + " …"


def behind_clean_up(error: BaseException) -> BaseException:
    """The error of a failed node itself, where TFX has also failed to remove the node's outputs, or to tell ML Metadata
    of the failure, and raises that.

    Args:
        error: from TFX's `Launcher.launch`.
    """
    found: BaseException | None = error
    if {"remove_output_dirs", "_publish_failed_execution"} & _functions(error):
        while found is not None and ("run_executor" not in _functions(found)):
            found = found.__cause__ or found.__context__
    return found or error


def _functions(error: BaseException) -> set[str]:
    """Names of the functions that an exception went through."""
    return {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
