"""Worker processes of this machine: as many as runs at a time, each started once and used for many runs.

`LocalExecutor` hands jobs to `WorkerProcess`es, whose threads put events into its inbox; the other end of their pipes
is `bench.execution.worker`.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any

from bench.execution import events
from bench.execution.backends import Backend
from bench.execution.executor import Executor, Job
from bench.memory.job_limits import JobLimits, limit_jobs
from bench.planning.facts import Facts
from bench.records.claims import LEASE_SECONDS
from bench.spec import RunSpec
from bench.system import memory_limits
from bench.system.console import print_note

RUNNER = "bench.training.run:run_spec"
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from bench.execution.worker import main; main(sys.argv[2:])"
)
_OUTPUT_LINES = 40
"""Lines of a worker's standard error that are kept for the failure of its run."""


class LocalBackend(Backend):
    """Worker processes of this machine."""

    def limit_jobs(self, specs: Sequence[RunSpec], facts: Facts, runs: int, at_most: int | None = None) -> JobLimits:
        """As many runs as typed, or as cores and memory allow."""
        return limit_jobs(specs, facts, runs, self.request.jobs, print_note, at_most)

    def make_executor(self, runs: int) -> Executor:
        """Workers for one study, which ends them."""
        jobs = min(self.limits.jobs, runs)
        return LocalExecutor(self.store.root, jobs, self.limits.threads, lease=self.store.lease)


class LocalExecutor:
    """At most `jobs` worker processes on this machine, started as they are needed and never more than jobs to run."""

    def __init__(self, root: Path, jobs: int, threads: int, runner: str = RUNNER, lease: float = LEASE_SECONDS) -> None:
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, not {jobs}")
        self.jobs, self.threads, self.started = jobs, threads, 0
        arguments = [json.dumps(sys.path), str(os.getpid()), str(root), runner, str(lease)]
        self._command = [sys.executable, "-c", _PROGRAM, *arguments]
        self._queue: deque[Job] = deque()
        self._workers: list[WorkerProcess] = []
        self._inbox: queue.SimpleQueue[tuple[WorkerProcess, events.Event | None]] = queue.SimpleQueue()
        self._stopping = False
        self._oom_kills = memory_limits.count_oom_kills()

    def submit(self, job: Job) -> None:
        """Take a job; it starts when a worker is free."""
        self._queue.append(job)
        self._hand_out()

    def poll(self, seconds: float) -> list[events.Event]:
        """The workers' events since the last call; waits at most `seconds` for the first."""
        received: list[events.Event] = []
        deadline = time.monotonic() + seconds
        while True:
            try:
                wait = 0.0 if received else max(0.0, deadline - time.monotonic())
                worker, event = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
            except queue.Empty:
                return received
            if event is None:
                event = self._remove_dead(worker)
            else:
                worker.note_event(event)
            if event is not None:
                received.append(event)
            self._hand_out()

    def stop(self) -> list[str]:
        """Ask running jobs to checkpoint and end; returns the run ids of jobs that hadn't begun and are dropped."""
        self._stopping = True
        dropped = [job.run_id for job in self._queue]
        self._queue.clear()
        for worker in list(self._workers):
            worker.send({"do": "stop"})
            if not worker.begun:
                # It is idle or still importing: there is nothing to save, and no reason to wait for its end.
                if worker.job is not None:
                    dropped.append(worker.job.run_id)
                    worker.job = None
                worker.process.kill()
        return dropped

    def kill(self) -> None:
        """End every worker now."""
        self._stopping = True
        for worker in self._workers:
            worker.process.kill()

    def close(self) -> None:
        """End every worker; idle ones have half a second to end by themselves."""
        self._stopping = True
        for worker in self._workers:
            worker.send({"do": "quit"})
        deadline = time.monotonic() + 0.5
        for worker in self._workers:
            if worker.job is None:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, deadline - time.monotonic()))
            worker.end()
        self._workers.clear()

    def _hand_out(self) -> None:
        while self._queue and not self._stopping:
            free = next((worker for worker in self._workers if worker.job is None and not worker.retired), None)
            if free is None:
                if len(self._workers) >= self.jobs:
                    return
                free = WorkerProcess(self._command, self.threads, self._inbox)
                self._workers.append(free)
                self.started += 1
            free.give(self._queue.popleft())

    def _remove_dead(self, worker: WorkerProcess) -> events.Event | None:
        """Remove a worker whose events have ended; returns the loss of its run, if it had one."""
        worker.end()
        if worker in self._workers:
            self._workers.remove(worker)
        if worker.job is None:
            return None
        code = worker.process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        output = "\n".join(worker.last_output)
        advice = self._advice() if code == -signal.SIGKILL else ""
        return events.WorkerLost(worker.job.run_id, f"the worker process died ({how})", output, advice)

    def _advice(self) -> str:
        """What to type after a SIGKILL: most likely the kernel sent it, which counts those for lack of memory."""
        before, self._oom_kills = self._oom_kills, memory_limits.count_oom_kills()
        why = "memory ran out" if self._oom_kills > before else "unless somebody killed it, memory ran out"
        return f"{why}: type {'fewer --jobs' if self.jobs > 1 else 'a smaller --batch-size or --model'}"


class WorkerProcess:
    """The parent's side of one worker. Two threads read its pipes into the executor's inbox.

    `job` is None while the worker is free; `begun`: the job has begun; `retired`: the worker takes no other job.
    """

    def __init__(self, command: list[str], threads: int, inbox: queue.SimpleQueue[tuple[WorkerProcess, Any]]) -> None:
        self.job: Job | None = None
        self.begun = self.retired = False
        self.last_output: deque[str] = deque(maxlen=_OUTPUT_LINES)
        self._inbox = inbox
        environment = worker_environment(threads)
        # A child inherits the mask, so that neither signal ends it before its handlers are set.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.process = subprocess.Popen(
                command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, encoding="utf-8", errors="replace"
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        assert self.process.stdout is not None and self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_errors, args=(self.process.stderr,), daemon=True),
            threading.Thread(target=self._read_events, args=(self.process.stdout,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message. A worker that is dead already is found by the end of its events, so errors are ignored."""
        with suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def give(self, job: Job) -> None:
        """Hand over a job."""
        self.job, self.begun = job, False
        spec, runtime = job.spec.model_dump(mode="json"), job.runtime.model_dump(mode="json")
        self.send({"do": "run", "spec": spec, "runtime": runtime, "redo": job.redo})

    def note_event(self, event: events.Event) -> None:
        """Take note of what an event says of the worker."""
        if isinstance(event, events.RunStarted):
            self.begun = True
        elif isinstance(event, events.RunEnded):
            self.retired = events.ends_worker(event)
            self.job, self.begun = None, False

    def end(self) -> None:
        """Kill the process and wait until it is gone: only then may its claim count as given up."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _read_errors(self, pipe: IO[str]) -> None:
        with suppress(ValueError, OSError):
            for line in pipe:
                if line.strip():
                    self.last_output.append(line.rstrip())
                    self._inbox.put((self, events.WorkerOutput(line.rstrip())))

    def _read_events(self, pipe: IO[str]) -> None:
        with suppress(ValueError, OSError):
            for line in pipe:
                if not line.endswith("\n"):
                    break  # the worker died while it wrote the line
                self._inbox.put((self, events.decode_event(line)))
        self._inbox.put((self, None))


def worker_environment(threads: int) -> dict[str, str]:
    """This process's environment with the thread count, and an allocator that keeps its memory.

    By default glibc hands large tensors back to the system and page-faults them in again at every step; these
    settings are read at a process's start, change no result and yield to what the user has set.
    """
    environment = {
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    } | dict(os.environ)
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB"):
        environment[f"{name}_{'MAXIMUM' if name == 'VECLIB' else 'NUM'}_THREADS"] = str(threads)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
