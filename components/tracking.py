"""The experiment tracker: curves, pictures, tables and a summary, sent to Weights & Biases or to nobody.

A tracker that is down, missing or misconfigured never stops a run: after its first failure it falls silent.
"""

import logging
import netrc
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import urlsplit
from weakref import WeakSet

import numpy as np

from model_patching.data.settings import Settings

# Seconds that an online run may take to start, and to send what is left at its end; and W&B's own process to end.
TIMEOUT = 20


class TrackingSettings(Settings):
    """Where curves and pictures go.

    Attributes:
        mode: "auto" obeys WANDB_MODE, else is online for a user who is logged in and offline otherwise; "offline"
            writes files that `wandb sync` can send later; "disabled" tracks nothing.
        project: of Weights & Biases.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "model-patching"


class Tracker(Protocol):
    """What a node tells about itself while it runs."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each named curve."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Adds a picture, uint8 [H, W, C]."""

    def table(self, step: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds a table; every row has a value, None where it has none, for each column."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Sets closing figures."""

    def finish(self) -> None:
        """Ends the run. Nothing may be said after."""


class NoTracker:
    """Tracks nothing."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Does nothing."""

    def table(self, step: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Does nothing."""

    def summary(self, values: Mapping[str, Any]) -> None:
        """Does nothing."""

    def finish(self) -> None:
        """Does nothing."""


class WandbTracker:
    """Sends to a Weights & Biases run; its first failure is logged and ends the tracking, not the training."""

    _open: ClassVar[WeakSet["WandbTracker"]] = WeakSet()  # they share one process of W&B's
    _end_with_last: ClassVar[bool] = False  # whether that process has to end with the last of them

    def __init__(self, run: Any):
        # W&B's `finish` doesn't wait until W&B's own process has closed an offline run's file, whose end is in that
        # process's memory until then: it would be lost with a container that ends here.
        WandbTracker._end_with_last |= run.offline
        self._run = run
        self._open.add(self)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each named curve."""
        self._try(lambda run: run.log(dict(values), step=step))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Adds a picture, uint8 [H, W, C]."""
        import wandb

        self._try(lambda run: run.log({name: wandb.Image(image.squeeze())}, step=step))

    def table(self, step: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds a table."""
        import wandb

        data = [list(row) for row in rows]
        self._try(lambda run: run.log({name: wandb.Table(columns=list(columns), data=data)}, step=step))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Sets closing figures."""
        self._try(lambda run: run.summary.update(dict(values)))

    def finish(self) -> None:
        """Ends the run, sending what is left. With the last run that is open, their offline files are whole."""
        self._try(lambda run: run.finish())
        self._open.discard(self)
        if not self._open and self._end_with_last:
            WandbTracker._end_with_last = False
            _end_process(silent=self._run is None)

    def _try(self, call: Callable[[Any], None]) -> None:
        if self._run is None:
            return
        try:
            call(self._run)
        except Exception as error:  # whatever the tracker does, the training goes on
            _warn("failed", error)
            self._run = None
            # The process may be dead, and W&B would give it to the next run too.
            WandbTracker._end_with_last = True


def _warn(what: str, error: BaseException) -> None:
    logging.warning("Weights & Biases %s, going on without it: %s", what, str(error) or type(error).__name__)


def _end_process(silent: bool) -> None:
    """Ends W&B's own process, and waits until it has, TIMEOUT seconds at most. The next run gets another.

    Never raises. The process stays while it has the caller's own run (`wandb.run`), which would end with it.

    Args:
        silent: about a failure: there has been a warning.
    """
    failures: list[BaseException] = []

    def end() -> None:
        try:
            import wandb

            if wandb.run is None:
                wandb.teardown()
        except SystemExit as error:  # W&B would have this process end likewise
            failures.append(RuntimeError(f"its process ended with {error.code}"))
        except Exception as error:  # wandb raises many kinds
            failures.append(error)

    thread = threading.Thread(target=end, daemon=True)  # `teardown` knows no limit
    thread.start()
    thread.join(TIMEOUT)
    if thread.is_alive():
        failures.append(TimeoutError(f"its process hasn't ended in {TIMEOUT} s"))
    if failures and not silent:
        _warn("failed", failures[0])


def open_tracker(
    settings: TrackingSettings, name: str, config: Mapping[str, Any], directory: str | Path
) -> Tracker:
    """Opens a run in the tracker. Never raises.

    Args:
        settings: mode and project.
        name: of the run: the node's id. WANDB_RUN_GROUP, where it is set, ties the nodes of a pipeline run together.
        config: settings to show beside the run.
        directory: where the tracker may write; its files go to `wandb/` in it.

    Returns:
        A tracker; one that does nothing when tracking is disabled or can't be had.
    """
    if settings.mode == "disabled":
        return NoTracker()
    # An offline run calls nobody, W&B's own error reports included.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb

        mode = settings.mode if settings.mode != "auto" else automatic_mode()
        if "://" in str(directory):  # W&B writes to disks
            if mode == "offline":
                logging.info("Weights & Biases: no offline run, as %s isn't on a disk", directory)
                return NoTracker()
            directory = tempfile.mkdtemp()
        Path(directory).mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=settings.project,
            name=name,
            config=dict(config),
            # W&B's own process writes there, and may have another working directory.
            dir=str(Path(directory).resolve()),
            mode=mode,
            # Two training nodes may be open in one process.
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=TIMEOUT,
                finish_timeout=TIMEOUT,
                x_disable_stats=True,
                disable_git=True,
                # TFX can't remove a failed node's folder with links to folders in it.
                symlink=False,
            ),
        )
        return WandbTracker(run)
    except Exception as error:  # wandb raises many kinds, and none of them may stop a run
        _warn("can't be used", error)
        if not WandbTracker._open:
            _end_process(silent=True)  # it may have died since the last run
        return NoTracker()


def automatic_mode() -> str:
    """WANDB_MODE where it is set, else "online" for a user who is logged in, else "offline"."""
    return os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")


def logged_in() -> bool:
    """Whether there is an API key for the Weights & Biases server, in WANDB_API_KEY or where `wandb login` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
