"""Recovery of trials whose process died: heartbeats of this process's trials, and signs that another's has ended."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from bench.records import claims

OWNER = "owner"
"""Attribute of a trial: host and process that claimed it."""


class TrialHeartbeat:
    """A thread that records heartbeats for this process's trials in a database.

    `live` maps the numbers of these trials to their ids in the storage; the owner changes it while the thread runs.
    """

    def __init__(self, storage: RDBStorage, live: Mapping[int, int]) -> None:
        self._storage, self._live = storage, live
        self._interval = storage.get_heartbeat_interval() or 20
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def record(self) -> None:
        """Record one heartbeat for every trial."""
        for trial_id in list(self._live.values()):
            self._storage.record_heartbeat(trial_id)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            # A database may be away for a moment: the next heartbeat may reach it, and so may the next result.
            with suppress(Exception):
                self.record()


def is_abandoned(trial: FrozenTrial, claim: Path, lease: float, heartbeats: bool) -> bool:
    """Whether no process runs a running trial any more. `claim` is its claim file in this output folder.

    `heartbeats`: the storage records them, and fails trials without one by itself.
    """
    if claim.exists():
        return claims.is_expired_claim(claim, lease)
    if OWNER not in trial.user_attrs:  # its process ended before the claim, or is about to take it
        started = trial.datetime_start
        return started is not None and (datetime.now() - started).total_seconds() > lease
    # Claimed, but not in this folder. With heartbeats it may be a process with another folder, and the heartbeat
    # decides. A journal has one folder for all processes: the claim was given up.
    return not heartbeats
