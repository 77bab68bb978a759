"""A worker of a Ray cluster."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.execution.events import Event, RunFailed, RunFinished, RunPaused
from bench.execution.executor import Job
from bench.execution.local import LocalExecutor
from bench.execution.ray.node_check import _go_to
from bench.records.store import Store
from bench.system import code_version
from bench.system.cache import cache_folder
from bench.system.errors import UsageError


@dataclass(frozen=True)
class WorkerOrder:
    """What a worker is made with. `token`: a file that the driver left in `root`; who sees it shares the folder."""

    root: str
    token: str
    folder: str
    driver: str
    runner: str
    lease: float
    threads: int
    poll_seconds: float


@dataclass(frozen=True)
class WorkerReady:
    """A worker is there: the node's id and name, and whether it writes its records to the driver's folder itself."""

    node: str
    host: str
    shared: bool


@dataclass(frozen=True)
class WorkerReport:
    """An event, and where the driver's folder isn't shared what goes with it: record, failure, or curves so far."""

    event: Event
    record: bytes | None = None
    failure: dict[str, Any] | None = None
    partial: dict[str, Any] | None = None


WorkerReports = tuple[str, Any]
"""What the driver tells a worker: ("run", Job), ("stop", None), or ("got", run id): the record has arrived."""


class NodeWorker:
    """A worker on a node. Made and called by Ray, one call at a time."""

    def __init__(self, order: WorkerOrder) -> None:
        import ray

        _go_to(order.folder)
        self.seconds, self.threads = order.poll_seconds, order.threads
        self.node = str(ray.get_runtime_context().get_node_id())
        self.shared = _shares(Path(order.root), order.token)
        # Apart for each driver's folder and each state of the code, so that no checkpoint of other code goes on.
        apart = hashlib.sha256(f"{order.driver} {order.root} {code_version.source_hash()}".encode()).hexdigest()[:16]
        root = Path(order.root) if self.shared else cache_folder() / "away" / apart
        self.store = Store(root, lease=order.lease)
        self.store.prepare()
        self.executor = LocalExecutor(root, 1, order.threads, order.runner, order.lease)

    def hello(self) -> WorkerReady:
        """Say where this is."""
        return WorkerReady(self.node, platform.node(), self.shared)

    def exchange(self, said: Sequence[WorkerReports]) -> list[WorkerReport]:
        """Do as told, and say what has happened; waits a little for the first event."""
        for what, about in said:
            if what == "run":
                self.executor.submit(self._here(about))
            elif what == "stop":
                self.executor.stop()
            elif what == "got":
                shutil.rmtree(self.store.folder(about), ignore_errors=True)
        return [self._with_result(event) for event in self.executor.poll(self.seconds)]

    def _here(self, job: Job) -> Job:
        """The job with the threads that a run has here, and this node's cache where the driver's is missing."""
        update: dict[str, Any] = {"threads": self.threads}
        cache = job.runtime.cache
        if cache is None or not os.access(cache, os.W_OK):
            update["cache"] = str(cache_folder())
        return replace(job, runtime=job.runtime.model_copy(update=update))

    def _with_result(self, event: Event) -> WorkerReport:
        if self.shared:
            return WorkerReport(event)
        if isinstance(event, RunFinished):
            return WorkerReport(event, record=self.store.record_path(event.run_id).read_bytes())
        if isinstance(event, RunFailed):
            return WorkerReport(event, failure=self.store.read_failure(event.run_id))
        if isinstance(event, RunPaused):
            return WorkerReport(event, partial=self.store.read_partial(event.run_id))
        return WorkerReport(event)


def _shares(root: Path, token: str) -> bool:
    """Whether this node sees the driver's folder, and may write there."""
    if not (root / token).is_file():
        return False
    try:
        Store(root).prepare()
    except UsageError:
        return False
    return True
