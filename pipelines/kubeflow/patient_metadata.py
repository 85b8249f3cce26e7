"""TFX's handle of ML Metadata, which waits for a store that is away."""

import time

from tfx.orchestration import metadata

from model_patching.pipelines.console import say
from model_patching.pipelines.metadata_store import StoreAway, check_store, connection_config

PATIENCE = 600  # seconds; longer than at a step's start, as a node may have worked for days by now
EVERY = 5  # seconds between two tries


class PatientMetadata(metadata.Metadata):
    """Waits wherever TFX opens it, which it does anew before a node and after it.

    Only the connecting is tried again, and where the store can't be reached: what fails on an open connection may have
    been written all the same, and would be there twice, and one that refuses would go on to.
    """

    def __init__(self, url: str, what: str):
        """Doesn't connect yet.

        Args:
            url: see `store_address`.
            what: wants the store, as it is told while waiting.
        """
        super().__init__(connection_config(url))
        self._url = url
        self._what = what

    def __enter__(self) -> "PatientMetadata":
        """Connects.

        Raises:
            StoreAway: the store can't be reached, for `PATIENCE` seconds.
            StoreError: it refuses.
        """
        deadline = time.monotonic() + PATIENCE
        told = False
        while True:
            try:
                check_store(self._url, patience=0)
                break
            except StoreAway as error:
                if time.monotonic() >= deadline:
                    raise
                if not told:
                    say(f"• {self._what}  {error}; waiting for it, {PATIENCE // 60} minutes at most")
                told = True
            time.sleep(EVERY)
        return super().__enter__()
