"""Local processes: as many workers as jobs may run at once, each started once and used for many runs."""

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bench.execution.events import (
    Event,
    RunEnded,
    RunFailed,
    RunStarted,
    RunStopped,
    WorkerLost,
    WorkerOutput,
    decode_event,
)
from bench.execution.executor import Backend, Executor, Job
from bench.execution.runtimes import make_runtimes
from bench.memory.job_limits import JobLimits, limit_jobs
from bench.planning.facts import Facts
from bench.records.claims import LEASE_SECONDS
from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.system import memory_limits
from bench.system.console import print_note

RUNNER = "bench.training.run:run_spec"

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from bench.execution.worker import main; main(sys.argv[2:])"
)
_TAIL_LINES = 40


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


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM: a child inherits the mask, so neither can hit it before it is ready."""
    held = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _WorkerProcess:
    """The parent's side of one worker. Two threads read its pipes into the executor's inbox."""

    def __init__(self, command: list[str], threads: int, inbox: queue.SimpleQueue[tuple[_WorkerProcess, Any]]) -> None:
        self.job: Job | None = None
        self.begun = False
        self.retired = False
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._inbox = inbox
        with _signals_held():
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=worker_environment(threads),
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        assert self.process.stdout is not None and self.process.stderr is not None
        self._errors = threading.Thread(target=self._read_errors, args=(self.process.stderr,), daemon=True)
        self._events = threading.Thread(target=self._read_events, args=(self.process.stdout,), daemon=True)
        self._errors.start()
        self._events.start()

    def say(self, message: dict[str, Any]) -> None:
        """Send one message; a worker that is dead already shows by the end of its events."""
        with suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def give(self, job: Job) -> None:
        """Hand over a job."""
        self.job, self.begun = job, False
        spec, runtime = job.spec.model_dump(mode="json"), job.runtime.model_dump(mode="json")
        self.say({"do": "run", "spec": spec, "runtime": runtime, "redo": job.redo})

    def bury(self) -> None:
        """Make sure that it is dead and gone: only then is its claim nobody's."""
        self.process.kill()
        self.process.wait()
        for thread in (self._errors, self._events):
            if thread is not threading.current_thread():
                thread.join(timeout=1.0)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _read_errors(self, pipe: IO[str]) -> None:
        with suppress(ValueError, OSError):
            for line in pipe:
                if line.strip():
                    self.tail.append(line.rstrip())
                    self._inbox.put((self, WorkerOutput(line.rstrip())))

    def _read_events(self, pipe: IO[str]) -> None:
        with suppress(ValueError, OSError):
            for line in pipe:
                if not line.endswith("\n"):
                    break  # cut off by its death
                self._inbox.put((self, decode_event(line)))
        self._inbox.put((self, None))


class LocalExecutor:
    """At most `jobs` worker processes on this machine, started as they are needed and never more than jobs to run."""

    def __init__(self, root: Path, jobs: int, threads: int, runner: str = RUNNER, lease: float = LEASE_SECONDS) -> None:
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1, not {jobs}")
        self.jobs = jobs
        self.threads = threads
        self.started = 0
        arguments = [json.dumps(sys.path), str(os.getpid()), str(root), runner, str(lease)]
        self._command = [sys.executable, "-c", _START, *arguments]
        self._waiting: deque[Job] = deque()
        self._children: list[_WorkerProcess] = []
        self._inbox: queue.SimpleQueue[tuple[_WorkerProcess, Event | None]] = queue.SimpleQueue()
        self._stopping = False
        self._kills = memory_limits.count_oom_kills()

    def submit(self, job: Job) -> None:
        """Take a job; it starts when a worker is free."""
        self._waiting.append(job)
        self._hand_out()

    def poll(self, seconds: float) -> list[Event]:
        """What the workers have said since the last call; waits at most `seconds` for the first."""
        found: list[Event] = []
        deadline = time.monotonic() + seconds
        while True:
            try:
                wait = 0.0 if found else max(0.0, deadline - time.monotonic())
                child, event = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
            except queue.Empty:
                return found
            event = self._ended(child) if event is None else self._noted(child, event)
            if event is not None:
                found.append(event)
            self._hand_out()

    def stop(self) -> list[str]:
        """Ask the running ones to checkpoint and end; what hasn't begun is dropped, and its run ids returned."""
        self._stopping = True
        dropped = [job.run_id for job in self._waiting]
        self._waiting.clear()
        for child in list(self._children):
            child.say({"do": "stop"})
            if not child.begun:
                # It is idle, or still importing: nothing to save, and nothing to wait for.
                if child.job is not None:
                    dropped.append(child.job.run_id)
                    child.job = None
                child.process.kill()
        return dropped

    def kill(self) -> None:
        """End every worker now."""
        self._stopping = True
        for child in self._children:
            child.process.kill()

    def close(self) -> None:
        """End every worker, the idle ones in peace."""
        self._stopping = True
        for child in self._children:
            child.say({"do": "quit"})
        deadline = time.monotonic() + 0.5
        for child in self._children:
            if child.job is None:
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
            child.bury()
        self._children.clear()

    def _hand_out(self) -> None:
        while self._waiting and not self._stopping:
            free = next((child for child in self._children if child.job is None and not child.retired), None)
            if free is None:
                if len(self._children) >= self.jobs:
                    return
                free = _WorkerProcess(self._command, self.threads, self._inbox)
                self._children.append(free)
                self.started += 1
            free.give(self._waiting.popleft())

    def _noted(self, child: _WorkerProcess, event: Event) -> Event:
        if isinstance(event, RunStarted):
            child.begun = True
        elif isinstance(event, RunEnded):
            child.retired = isinstance(event, RunStopped) or (isinstance(event, RunFailed) and event.worker_ends)
            child.job, child.begun = None, False
        return event

    def _ended(self, child: _WorkerProcess) -> Event | None:
        child.bury()
        if child in self._children:
            self._children.remove(child)
        if child.job is None:
            return None
        code = child.process.returncode
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        reason, output = f"the worker process died ({how})", "\n".join(child.tail)
        return WorkerLost(child.job.run_id, reason, output, self._advice() if code == -signal.SIGKILL else "")

    def _advice(self) -> str:
        """What to type after a kill that nobody can answer: the kernel's, most likely, which counts its own."""
        before, self._kills = self._kills, memory_limits.count_oom_kills()
        why = "memory ran out" if self._kills > before else "unless somebody killed it, memory ran out"
        return f"{why}: type {'fewer --jobs' if self.jobs > 1 else 'a smaller --batch-size or --model'}"


class LocalBackend(Backend):
    """Worker processes of this machine."""

    def limit_jobs(self, specs: Sequence[RunSpec], facts: Facts, runs: int, at_most: int | None = None) -> JobLimits:
        """As many runs as cores and memory allow, or as typed."""
        return limit_jobs(specs, facts, runs, self.request.jobs, print_note, at_most)

    def start(self, facts: Facts, store: Store, limits: JobLimits, runs: int) -> Callable[[RunSpec], Runtime]:
        """Note where records go and how many runs fit: workers start with their first jobs."""
        self._store, self._limits = store, limits
        return make_runtimes(self.request, facts, limits)

    def count_jobs(self) -> int:
        """The number of worker processes."""
        return self._limits.jobs

    def make_executor(self, runs: int) -> Executor:
        """Workers for one study, which ends them."""
        jobs = min(self._limits.jobs, runs)
        return LocalExecutor(self._store.root, jobs, self._limits.threads, lease=self._store.lease)
