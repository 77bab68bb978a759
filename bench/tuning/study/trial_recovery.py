"""Trials whose process died: heartbeats, and their slots handed on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress

from optuna.storages import RDBStorage


def _fresh(name: str) -> str:
    """A name for a study beside this one."""
    prefix = "/".join(name.split("/")[:-3])
    return f"{prefix}-2" if prefix else "second"


class _Heartbeat:
    """A thread that says of this process's trials that they are alive, in a storage that takes heartbeats."""

    def __init__(self, storage: RDBStorage, live: Mapping[int, int]) -> None:
        self._storage, self._live = storage, live
        self._interval = storage.get_heartbeat_interval() or 20
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def now(self) -> None:
        """One beat for every trial."""
        for trial_id in list(self._live.values()):
            self._storage.record_heartbeat(trial_id)

    def end(self) -> None:
        """Stop."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            # a database that is away for a moment: the next beat may reach it, and so may the next tell
            with suppress(Exception):
                self.now()
