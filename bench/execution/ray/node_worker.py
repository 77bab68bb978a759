"""A worker on a node of a Ray cluster: an actor that holds a local executor of one process.

So a run is carried out on a node as on any machine: claimed, reported, and survived if its process dies.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.execution.events import Event
from bench.execution.executor import Job
from bench.execution.local import LocalExecutor
from bench.execution.ray.node_check import enter_folder
from bench.system.cache import cache_folder

SECONDS_OF_A_CALL = 0.5
"""How long a worker waits for an event before it answers; a message to it waits for that at most."""


class NodeWorker:
    """A worker on a node. Ray makes it and calls it, one call at a time.

    `folder` is where the command was typed, `root` the output folder.
    """

    def __init__(self, folder: str, root: str, threads: int, runner: str, lease: float) -> None:
        enter_folder(folder)
        self.executor = LocalExecutor(Path(root), 1, threads, runner, lease)

    def host(self) -> str:
        """The node's name. The first answer shows that the worker has started."""
        return platform.node()

    def exchange(self, jobs: Sequence[Job], stop: bool) -> list[Event]:
        """Take jobs, or stop the running one; returns the events since the last call, and waits a little for one."""
        for job in jobs:
            self.executor.submit(self._adapt_job(job))
        if stop:
            self.executor.stop()
        return self.executor.poll(SECONDS_OF_A_CALL)

    def _adapt_job(self, job: Job) -> Job:
        """The job with the threads that a run has here, and this node's cache if the driver's isn't there."""
        update: dict[str, Any] = {"threads": self.executor.threads}
        cache = job.runtime.cache
        if cache is None or not os.access(cache, os.W_OK):
            update["cache"] = str(cache_folder())
        return replace(job, runtime=job.runtime.model_copy(update=update))
