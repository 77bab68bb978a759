"""A worker on a node of a Ray cluster: an actor that holds a local executor of one process.

So a run is carried out on a node as on any machine: claimed, reported, and survived if its process dies.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.execution.events import Event
from bench.execution.executor import Job
from bench.execution.local import LocalExecutor
from bench.execution.ray.node_check import enter_folder
from bench.system.cache import cache_folder


@dataclass(frozen=True)
class WorkerSettings:
    """The settings that every worker is made with. `root`: the output folder; `folder`: where the command was typed."""

    root: str
    folder: str
    runner: str
    lease: float
    threads: int
    poll_seconds: float


class NodeWorker:
    """A worker on a node. Ray makes it and calls it, one call at a time."""

    def __init__(self, settings: WorkerSettings) -> None:
        enter_folder(settings.folder)
        self.settings = settings
        self.executor = LocalExecutor(Path(settings.root), 1, settings.threads, settings.runner, settings.lease)

    def host(self) -> str:
        """The node's name. The first answer shows that the worker has started."""
        return platform.node()

    def exchange(self, jobs: Sequence[Job], stop: bool) -> list[Event]:
        """Take jobs, or stop the running one; returns the events since the last call, and waits a little for one."""
        for job in jobs:
            self.executor.submit(self._adapt_job(job))
        if stop:
            self.executor.stop()
        return self.executor.poll(self.settings.poll_seconds)

    def _adapt_job(self, job: Job) -> Job:
        """The job with the threads that a run has here, and this node's cache if the driver's isn't there."""
        update: dict[str, Any] = {"threads": self.settings.threads}
        cache = job.runtime.cache
        if cache is None or not os.access(cache, os.W_OK):
            update["cache"] = str(cache_folder())
        return replace(job, runtime=job.runtime.model_copy(update=update))
