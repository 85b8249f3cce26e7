"""This project's one-line errors, taken out of what Beam raises in their place."""

import re


def plain_error(error: BaseException, kinds: tuple[type[Exception], ...]) -> BaseException | None:
    """A one-line error for one of Beam's, which adds its own text or the worker's whole traceback to this project's.

    Args:
        error: that a pipeline has raised.
        kinds: classes of errors whose messages are one line, to look for in this order.

    Returns:
        The error that a worker raised first; a KeyboardInterrupt, of which Beam makes another error too; a RuntimeError
        where a worker process has died; None for anything else.
    """
    if str(error).startswith("KeyboardInterrupt [while running "):
        return KeyboardInterrupt()
    for kind in kinds:
        found = re.search(rf"\b{kind.__name__}: (.*)", str(error))
        message = found.group(1) if found else str(error) if isinstance(error, kind) else None
        if message is not None:
            return kind(re.sub(r" \[while running '.*", "", message).strip())
    if "Channel closed prematurely" in str(error):
        return RuntimeError(
            "a worker process of Beam has ended before its work was done, perhaps for want of memory"
        )
    return None


def lost(what: str) -> str:
    """What to say of a runner that has lost something; see `beam_buffers.py` for one that does.

    Args:
        what: what there still is, and of how many: "3 of 4 output files".
    """
    return f"only {what} came through Beam; run again with --direct_running_mode=in_memory"
