"""The driver's side of one worker on a node."""

from __future__ import annotations

from typing import Any

from bench.execution.executor import Job


class RemoteWorker:
    """One worker. At most one call to it is under way: `pending` is Ray's reference to the answer.

    `host` is the node's name, None until the worker has started. `begun`: its job has begun.
    """

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray = ray
        self._handle = handle
        self.pending: Any = handle.host.remote()
        self.host: str | None = None
        self.job: Job | None = None
        self.begun = False
        self._jobs: list[Job] = []
        self._stop = False

    @property
    def free(self) -> bool:
        """Whether the worker may be given a job."""
        return self.host is not None and self.job is None

    def give(self, job: Job) -> None:
        """Hand over a job: at once, or with the next call where one is under way."""
        self.job, self.begun = job, False
        self._jobs.append(job)
        self.call()

    def stop(self) -> None:
        """Let the running job checkpoint and end."""
        self._stop = True
        self.call()

    def end_job(self) -> Job | None:
        """Take the job back, which has ended; returns it."""
        job, self.job, self.begun = self.job, None, False
        return job

    def call(self) -> None:
        """Call the worker for its events, unless a call is under way, or it has no job and there is nothing to send."""
        if self.pending is None and self.host is not None and (self._jobs or self._stop or self.job is not None):
            self.pending = self._handle.exchange.remote(tuple(self._jobs), self._stop)
            self._jobs.clear()
            self._stop = False

    def kill(self) -> None:
        """End the worker now, with its run."""
        self._ray.kill(self._handle, no_restart=True)
