"""How a failed node is told to a person."""

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
