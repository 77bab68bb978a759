"""The driver's side of one worker on a node: what it was given, what it is told next, what holds for it here."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from bench.execution.executor import Job
from bench.execution.ray.node_worker import WorkerReady, WorkerReports
from bench.records.claims import Claim


class RemoteWorker:
    """One worker. At most one call to it is under way: `pending` is Ray's reference to its answer."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray = ray
        self._handle = handle
        self.pending: Any = handle.hello.remote()
        self.hello: WorkerReady | None = None
        self.job: Job | None = None
        self.begun = False
        self._said: list[WorkerReports] = []
        self._claim = ExitStack()

    @property
    def free(self) -> bool:
        """Whether it may be given a job."""
        return self.hello is not None and self.job is None

    @property
    def host(self) -> str:
        """The node's name, as far as it is known."""
        return "a node" if self.hello is None else self.hello.host

    def give(self, job: Job, claim: Claim | None) -> None:
        """Hand over a job, with the claim that the driver holds for it where the folder isn't shared."""
        self.job, self.begun = job, False
        if claim is not None:
            self._claim.enter_context(claim)
        self.say("run", job)

    def end(self) -> Job | None:
        """The job is over, here at least: its claim is given up. Returns it."""
        job, self.job, self.begun = self.job, None, False
        self._claim.close()
        return job

    def say(self, what: str, about: Any = None) -> None:
        """Tell it something, at once if it listens and else with the next call."""
        self._said.append((what, about))
        self.call()

    def call(self) -> None:
        """Call again, unless a call is under way or there is nothing to say and nothing to hear of."""
        if self.pending is None and self.hello is not None and (self._said or self.job is not None):
            self.pending = self._handle.exchange.remote(tuple(self._said))
            self._said.clear()

    def kill(self) -> None:
        """End it now, with what it runs."""
        self._ray.kill(self._handle, no_restart=True)
