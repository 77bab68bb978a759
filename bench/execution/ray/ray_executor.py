"""Hands jobs to workers on a cluster's nodes, and hears of them.

Where a node sees the driver's folder, its worker claims, checkpoints and writes records there as any process would.
Where it doesn't, the driver holds the claim, the worker keeps checkpoints on its node, and the record comes back with
the news that the run has finished; the driver writes it.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bench.execution.events import (
    Event,
    RunBusy,
    RunFailed,
    RunFinished,
    RunPaused,
    RunStarted,
    RunStopped,
    WorkerLost,
    WorkerOutput,
)
from bench.execution.executor import Job
from bench.execution.local import RUNNER
from bench.execution.ray.cluster import RayCluster, last_error_line
from bench.execution.ray.node_worker import NodeWorker, WorkerOrder, WorkerReady, WorkerReport
from bench.execution.ray.remote_worker import RemoteWorker
from bench.execution.worker import HOPELESS
from bench.records.schema import CorruptRecord, UnreadableSchema, decode_record
from bench.records.store import Store

Ending = RunFinished | RunPaused | RunFailed | RunBusy | RunStopped | WorkerLost
"""The events after which a worker has no job in hand."""
SECONDS_OF_A_CALL = 0.5
"""How long a worker waits for an event before it answers; so long a word to it may take."""
SECONDS_BETWEEN_LOOKS = 5.0
"""How often the cluster is asked for nodes that joined or left."""
SECONDS_WITHOUT_ROOM = 60.0
"""How long no living node may have room for a run before those that wait are given back."""
SECONDS_BEFORE_A_WORD = 20.0
"""How long runs wait for a first worker before it is said why."""


class RayExecutor:
    """Workers on a cluster's nodes, as many as there is room for and runs wait.

    The cluster stays the caller's. Every run has `threads` threads, whatever its runtime says.
    """

    def __init__(self, cluster: RayCluster, store: Store, threads: int, runner: str = RUNNER) -> None:
        self.cluster = cluster
        self.store = store
        self.threads = threads
        self.started = 0
        self._runner = runner
        self._ray = cluster.ray
        self._token: str | None = None
        self._waiting: deque[Job] = deque()
        self._remotes: list[RemoteWorker] = []
        self._asking: dict[Any, str] = {}
        self._events: list[Event] = []
        self._room = cluster.room_for(threads)
        self._looked = self._had_room = self._began = time.monotonic()
        self._noted: set[str] = set()
        self._stopping = False

    def submit(self, job: Job) -> None:
        """Take a job; it starts when a worker is free."""
        self._waiting.append(job)

    def poll(self, seconds: float) -> list[Event]:
        """What the workers have said since the last call; waits at most `seconds` for the first event."""
        deadline = time.monotonic() + seconds
        while True:
            self._look()
            self._hand_out()
            left = 0.0 if self._events else max(0.0, deadline - time.monotonic())
            self._hear(left)
            if self._events or time.monotonic() >= deadline:
                found, self._events = self._events, []
                return found

    def stop(self) -> list[str]:
        """Ask the running ones to checkpoint and end; what hasn't begun is dropped, and its run ids returned."""
        self._stopping = True
        dropped = [job.run_id for job in self._waiting]
        self._waiting.clear()
        for remote in list(self._remotes):
            if remote.begun:
                remote.say("stop")
                continue
            job = remote.end()
            if job is not None:
                dropped.append(job.run_id)
            self._remove(remote)
        return dropped

    def kill(self) -> None:
        """End every worker now."""
        self._stopping = True
        for remote in self._remotes:
            remote.kill()

    def close(self) -> None:
        """End every worker, and take back what was left in the folder."""
        self._stopping = True
        last = [remote.pending for remote in self._remotes if remote.free and remote.pending is not None]
        if last:  # that a record has arrived
            self._ray.wait(last, num_returns=len(last), timeout=SECONDS_OF_A_CALL)
        for remote in list(self._remotes):
            remote.end()
            self._remove(remote)
        if self._token is not None:
            with suppress(OSError):
                (self.store.root / self._token).unlink()
            self._token = None

    # The cluster -----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Now and then: nodes that joined are asked, those that left don't count."""
        now = time.monotonic()
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            known = self.cluster.admitted | self.cluster.refused.keys() | set(self._asking.values())
            for node in self.cluster.nodes():
                if node not in known:
                    self._asking[self.cluster.ask(node)] = node
            self._room = self.cluster.room_for(self.threads)
            if not self._waiting:
                self._let_go()
        if self._room:
            self._had_room = now
        elif self._waiting and not self._remotes and now - self._had_room > SECONDS_WITHOUT_ROOM:
            for job in self._waiting:
                self._events.append(WorkerLost(job.run_id, "no node of the cluster is left that has room for it", ""))
            self._waiting.clear()
        if self._waiting and not self.started and now - self._began > SECONDS_BEFORE_A_WORD:
            self._note("Waiting for the cluster: other work has its cores or cards. Runs begin as they become free.")

    def _let_go(self) -> None:
        """Nothing waits: what idle workers hold is for others on the cluster."""
        for remote in [remote for remote in self._remotes if remote.free and remote.pending is None]:
            self._remove(remote)

    def _judge(self, reference: Any) -> None:
        """A node that joined has answered."""
        node = self._asking.pop(reference)
        self.cluster.judge(node, node, reference)
        if node in self.cluster.refused:
            self._note(f"A node that joined isn't used: {self.cluster.refused[node]}")
        self._room = self.cluster.room_for(self.threads)

    # Jobs ------------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        if self._stopping:
            return
        for remote in self._remotes:
            while self._waiting and remote.free:
                self._give(remote, self._waiting.popleft())
        coming = sum(remote.hello is None for remote in self._remotes)
        while len(self._remotes) < self._room and coming < len(self._waiting):
            self._remotes.append(self._make())
            coming += 1

    def _make(self) -> RemoteWorker:
        if self._token is None:
            self._token = write_driver_token(self.store)
        order = WorkerOrder(
            root=str(self.store.root.resolve()),
            token=self._token,
            folder=self.cluster.asked.folder,
            driver=platform.node(),
            runner=self._runner,
            lease=self.store.lease,
            threads=self.threads,
            poll_seconds=SECONDS_OF_A_CALL,
        )
        handle = (
            self._ray.remote(NodeWorker)
            .options(
                num_cpus=self.threads,
                num_gpus=self.cluster.cards,
                # A worker that dies isn't restarted by Ray: the study decides what becomes of its run.
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
                label_selector={"ray.io/node-id": f"in({','.join(sorted(self.cluster.admitted))})"},
            )
            .remote(order)
        )
        return RemoteWorker(self._ray, handle)

    def _give(self, remote: RemoteWorker, job: Job) -> None:
        """Hand over a job; where the folder isn't shared, after what a worker would have done there."""
        claim = None
        if remote.hello is not None and not remote.hello.shared:
            try:
                claim = self.store.claim(job.run_id)
                if claim is not None and not job.redo and self.store.read(job.run_id) is not None:
                    claim.release()
                    self._events.append(RunFinished(job.run_id, None))
                    return
            except OSError as error:
                self._events.append(_failed(job.run_id, error))
                return
            if claim is None:
                self._events.append(RunBusy(job.run_id))
                return
        remote.give(job, claim)

    # Events ----------------------------------------------------------------------------------------------------

    def _hear(self, seconds: float) -> None:
        """Take in the answers that are there; waits at most `seconds` for the first."""
        calls = {remote.pending: remote for remote in self._remotes if remote.pending is not None}
        references = [*calls, *self._asking]
        if not references:
            time.sleep(min(seconds, 0.1))
            return
        ready, rest = self._ray.wait(references, num_returns=1, timeout=seconds)
        if ready and rest:
            ready += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for reference in ready:
            if reference in self._asking:
                self._judge(reference)
            else:
                self._answered(calls[reference], reference)

    def _answered(self, remote: RemoteWorker, reference: Any) -> None:
        remote.pending = None
        try:
            answer = self._ray.get(reference)
        except Exception as error:
            self._gone(remote, error)
            return
        if isinstance(answer, WorkerReady):
            remote.hello = answer
            self.started += 1
            if not answer.shared:
                self._note(
                    f"{answer.host} doesn't see {self.store.root}: its records come back from there, and its "
                    "checkpoints stay there"
                )
        else:
            for heard in answer:
                self._events.append(self._taken(remote, heard))
        remote.call()

    def _taken(self, remote: RemoteWorker, heard: WorkerReport) -> Event:
        """One event, after what it brought is stored."""
        event = heard.event
        if isinstance(event, RunStarted):
            remote.begun = True
        elif isinstance(event, Ending):
            if remote.job is not None and remote.hello is not None and not remote.hello.shared:
                event = self._brought(remote, remote.job, heard)
            # Only now that it is stored: who hears of it, or waits for the claim, may look for it at once.
            remote.end()
        return event

    def _brought(self, remote: RemoteWorker, job: Job, heard: WorkerReport) -> Ending:
        """Write what a node without the folder has brought; it may forget it then."""
        event = heard.event
        assert isinstance(event, Ending)
        try:
            if heard.record is not None:
                self.store.write_record(decode_record(heard.record, run_id=job.run_id))
            elif isinstance(event, RunFailed) and heard.failure is not None:
                failure = heard.failure
                self.store.write_failure(
                    job.spec, failure["reason"], failure["epoch"], failure["traceback"], failure["provenance"]
                )
            elif heard.partial is not None:
                self.store.write_partial(job.spec, heard.partial["curves"], heard.partial["total_epochs"])
        except (OSError, CorruptRecord, UnreadableSchema) as error:
            return _failed(job.run_id, error)
        if isinstance(event, RunFinished | RunFailed):
            remote.say("got", job.run_id)
        if isinstance(event, RunFailed) and event.hopeless:
            return replace(event, reason=f"on {remote.host}: {event.reason}")
        return event

    def _gone(self, remote: RemoteWorker, error: Exception) -> None:
        """A worker died, or its node did: its run goes back to the study."""
        host, job = remote.host, remote.end()
        self._remove(remote)
        if job is not None:
            self._events.append(
                WorkerLost(job.run_id, f"its worker on {host} is gone ({last_error_line(error)})", str(error))
            )
        elif remote.hello is None and self._waiting:
            # No run was in its hands. One that waits goes back in its stead, or workers would die like this for ever.
            waiting = self._waiting.popleft()
            self._events.append(
                WorkerLost(waiting.run_id, f"a worker could not start ({last_error_line(error)})", str(error))
            )

    def _remove(self, remote: RemoteWorker) -> None:
        remote.kill()
        if remote in self._remotes:
            self._remotes.remove(remote)

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._events.append(WorkerOutput(text))


def write_driver_token(store: Store) -> str:
    """Leave a file in the driver's folder, by which a node knows it; returns its name."""
    name = f".driver-{secrets.token_hex(8)}.tmp"
    (store.root / name).touch()
    return name


def _failed(run_id: str, error: Exception) -> RunFailed:
    hopeless = isinstance(error, OSError) and error.errno in HOPELESS
    return RunFailed(run_id, f"{type(error).__name__}: {' '.join(str(error).split())}", hopeless)
