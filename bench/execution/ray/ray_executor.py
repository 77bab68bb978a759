"""The executor on a Ray cluster: starts workers on its nodes, gives them jobs, and collects their events.

Each worker claims its runs, checkpoints and writes records in the shared output folder, as any process does. `poll`
shows the order of things: look at the cluster, hand out jobs, wait for answers.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from bench.execution.events import Event, RunEnded, RunStarted, WorkerLost, WorkerOutput
from bench.execution.executor import Job
from bench.execution.local import RUNNER
from bench.execution.ray.cluster import RayCluster, last_error_line
from bench.execution.ray.node_worker import NodeWorker
from bench.records.store import Store

SECONDS_BETWEEN_LOOKS = 5.0
"""How often the cluster is asked for nodes that joined or left."""
SECONDS_WITHOUT_ROOM = 60.0
"""How long no living node may have room for a run before the queued runs are given back."""
SECONDS_BEFORE_A_NOTE = 20.0
"""How long runs wait for a first worker before a note says why."""


class RayExecutor:
    """Workers on a cluster's nodes, as many as there is room for and jobs are queued.

    The cluster stays the caller's. Every run has `threads` threads, whatever its runtime says.
    """

    def __init__(self, cluster: RayCluster, store: Store, threads: int, runner: str = RUNNER) -> None:
        self.cluster, self.threads, self.started = cluster, threads, 0
        self._ray = cluster.ray
        root = str(store.root.resolve())
        self._worker_arguments = (cluster.requirements.folder, root, threads, runner, store.lease)
        self._queue: deque[Job] = deque()
        self._workers: list[RemoteWorker] = []
        self._node_checks: dict[Any, str] = {}
        """Ray's reference to a check under way -> the id of its node."""
        self._events: list[Event] = []
        self._places = cluster.room_for(threads)
        self._last_look = self._last_room = self._start = time.monotonic()
        self._notes: set[str] = set()
        self._stopping = False

    def submit(self, job: Job) -> None:
        """Take a job; it starts when a worker is free."""
        self._queue.append(job)

    def poll(self, seconds: float) -> list[Event]:
        """The workers' events since the last call; waits at most `seconds` for the first."""
        deadline = time.monotonic() + seconds
        while True:
            self._look_at_cluster()
            self._hand_out()
            self._collect_answers(0.0 if self._events else max(0.0, deadline - time.monotonic()))
            if self._events or time.monotonic() >= deadline:
                events, self._events = self._events, []
                return events

    def stop(self) -> list[str]:
        """Ask running jobs to checkpoint and end; returns the run ids of jobs that hadn't begun and are dropped."""
        self._stopping = True
        dropped = [job.run_id for job in self._queue]
        self._queue.clear()
        for worker in list(self._workers):
            if worker.begun:
                worker.stop()
                continue
            job = worker.end_job()
            if job is not None:
                dropped.append(job.run_id)
            self._remove(worker)
        return dropped

    def kill(self) -> None:
        """End every worker now."""
        self._stopping = True
        for worker in self._workers:
            worker.kill()

    def close(self) -> None:
        """End every worker."""
        self._stopping = True
        for worker in list(self._workers):
            self._remove(worker)

    def _look_at_cluster(self) -> None:
        """Now and then, check nodes that joined and forget those that left; give runs back where no node is left."""
        now = time.monotonic()
        if now - self._last_look >= SECONDS_BETWEEN_LOOKS:
            self._last_look = now
            checked = self.cluster.admitted | self.cluster.refused.keys() | set(self._node_checks.values())
            for node in self.cluster.nodes():
                if node not in checked:
                    self._node_checks[self.cluster.start_check(node)] = node
            self._places = self.cluster.room_for(self.threads)
            if not self._queue:
                # Idle workers hold cores and GPUs that others on the cluster may want.
                for worker in [worker for worker in self._workers if worker.free and worker.pending is None]:
                    self._remove(worker)
        if self._places:
            self._last_room = now
        elif self._queue and not self._workers and now - self._last_room > SECONDS_WITHOUT_ROOM:
            for job in self._queue:
                self._events.append(WorkerLost(job.run_id, "no node of the cluster is left that has room for it", ""))
            self._queue.clear()
        if self._queue and not self.started and now - self._start > SECONDS_BEFORE_A_NOTE:
            self._note("Waiting for the cluster: other work has its cores or GPUs. Runs begin as they become free.")

    def _hand_out(self) -> None:
        """Give queued jobs to free workers, and start as many workers as the rest needs and as fit."""
        if self._stopping:
            return
        for worker in self._workers:
            if self._queue and worker.free:
                worker.give(self._queue.popleft())
        starting = sum(worker.host is None for worker in self._workers)
        while len(self._workers) < self._places and starting < len(self._queue):
            self._workers.append(self._start_worker())
            starting += 1

    def _start_worker(self) -> RemoteWorker:
        handle = (
            self._ray.remote(NodeWorker)
            .options(
                num_cpus=self.threads,
                num_gpus=self.cluster.gpu_share,
                # Ray doesn't restart a worker that dies: the study decides what becomes of its run.
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy="SPREAD",
                label_selector={"ray.io/node-id": f"in({','.join(sorted(self.cluster.admitted))})"},
            )
            .remote(*self._worker_arguments)
        )
        return RemoteWorker(self._ray, handle)

    def _collect_answers(self, seconds: float) -> None:
        """Handle the answers of workers and nodes that have arrived; waits at most `seconds` for the first."""
        calls = {worker.pending: worker for worker in self._workers if worker.pending is not None}
        references = [*calls, *self._node_checks]
        if not references:
            time.sleep(min(seconds, 0.1))
            return
        ready, rest = self._ray.wait(references, num_returns=1, timeout=seconds)
        if ready and rest:
            ready += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for reference in ready:
            if reference in self._node_checks:
                self._finish_check(reference)
            else:
                self._handle_answer(calls[reference], reference)

    def _finish_check(self, reference: Any) -> None:
        """Admit or refuse a node that joined."""
        node = self._node_checks.pop(reference)
        self.cluster.finish_check(node, node, reference)
        if node in self.cluster.refused:
            self._note(f"A node that joined isn't used: {self.cluster.refused[node]}")
        self._places = self.cluster.room_for(self.threads)

    def _handle_answer(self, worker: RemoteWorker, reference: Any) -> None:
        worker.pending = None
        try:
            answer: str | list[Event] = self._ray.get(reference)
        except Exception as error:
            self._handle_death(worker, error)
            return
        if isinstance(answer, str):
            worker.host = answer
            self.started += 1
        else:
            for event in answer:
                if isinstance(event, RunStarted):
                    worker.begun = True
                elif isinstance(event, RunEnded):
                    worker.end_job()
                self._events.append(event)
        worker.call()

    def _handle_death(self, worker: RemoteWorker, error: Exception) -> None:
        """Give the run of a worker that died, by itself or with its node, back to the study."""
        job = worker.end_job()
        self._remove(worker)
        if job is not None:
            reason = f"its worker on {worker.host or 'a node'} is gone ({last_error_line(error)})"
            self._events.append(WorkerLost(job.run_id, reason, str(error)))
        elif worker.host is None and self._queue:
            # The worker died before it was given a run. A queued run is given back instead, so that the study counts
            # the death; otherwise workers could be started and die like this for ever.
            reason = f"a worker could not start ({last_error_line(error)})"
            self._events.append(WorkerLost(self._queue.popleft().run_id, reason, str(error)))

    def _remove(self, worker: RemoteWorker) -> None:
        worker.kill()
        if worker in self._workers:
            self._workers.remove(worker)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.add(text)
            self._events.append(WorkerOutput(text))


class RemoteWorker:
    """The driver's side of one worker on a node. At most one call to it is under way.

    `pending` is Ray's reference to the answer. `host` is the node's name, None until the worker has started. `begun`:
    its job has begun.
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
