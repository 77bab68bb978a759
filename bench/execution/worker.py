"""A worker process: carries out jobs from its parent one after another, and sends events.

Jobs come as lines of JSON on standard input, events go as lines of JSON to standard output; what a run prints goes to
standard error. `bench.execution.local` starts it; this module imports no torch, the runner does. Read `main` first,
then `Worker.carry_out`: claim, run, event.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from bench.execution import events
from bench.execution.executor import Job
from bench.records.claims import Claim
from bench.records.store import Store
from bench.registry.catalogue import own_packages
from bench.spec import RunSpec, Runtime
from bench.system.code_version import HOME
from bench.system.memory_limits import is_out_of_memory, memory_bound
from bench.system.own_code import find_own_line
from bench.system.processes import die_with_parent
from bench.training.outcome import Diverged, Interrupted, OutOfMemory, PauseReached, Runner

SECONDS_BETWEEN_REPORTS = 0.1
HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""Errors of the output folder that every other run would have too."""
MOST_REASON = 500
"""Characters of a failure's one line."""
ADVICE = "; type fewer --jobs, or a smaller --batch-size or --model"
"""What to type where memory ran out outside a training step, which gives its own advice."""


def load_file(path: Path) -> ModuleType:
    """The module of a Python file that is on no import path."""
    spec = importlib.util.spec_from_file_location(f"_file_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load_runner(text: str) -> Runner:
    """The function that "package.module:function" or "path/to/file.py:function" names."""
    source, _, name = text.rpartition(":")
    module = load_file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    return cast(Runner, getattr(module, name))


def describe_error(error: BaseException, runtime: Runtime) -> str:
    """An error in one line, with the line of a plugin, a method or a data set that it came from."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
    place = find_own_line(error, runtime.plugins, own_packages(), (HOME / "methods", HOME / "datasets"))
    where = "" if place is None else f" ({place})"
    return reason[: MOST_REASON - len(where)] + where


class Worker:
    """Carries out jobs one after another, and sends their events. `idle` is called every second without a job."""

    def __init__(self, store: Store, runner: str | Runner, send: Callable[[events.Event], None]) -> None:
        self.store = store
        self.runner_name = runner if isinstance(runner, str) else runner.__qualname__
        self.runner: Runner | None = None if isinstance(runner, str) else runner
        self.send = send
        self.idle: Callable[[], None] = lambda: None
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.stopping = threading.Event()
        self._last_report = 0.0

    def read_messages(self, lines: IO[str]) -> None:
        """Read the parent's messages; end the process where they end, since the parent is gone."""
        for line in lines:
            message = json.loads(line)
            if message["do"] == "run":
                spec, runtime = RunSpec(**message["spec"]), Runtime(**message["runtime"])
                self.jobs.put(Job(spec, runtime, message["redo"]))
            elif message["do"] == "stop":
                self.stopping.set()
            else:
                self.jobs.put(None)
        os._exit(1)

    def run_jobs(self) -> None:
        """Carry out jobs until a message to quit, or until the process shouldn't be used any more."""
        while True:
            try:
                # With a time limit: a thread that waits without one can't handle signals on every system.
                job = self.jobs.get(timeout=1.0)
            except queue.Empty:
                self.idle()
                continue
            if job is None or not self.carry_out(job):
                return

    def carry_out(self, job: Job) -> bool:
        """Carry out one job, from claim to event. False where the process shouldn't be used again."""
        try:
            if self.runner is None:
                self.runner = load_runner(self.runner_name)
            # Only where the runner's module has loaded torch; the environment sets the threads for what loads later.
            torch: Any = sys.modules.get("torch")
            if torch is not None and torch.get_num_threads() != job.runtime.threads:
                torch.set_num_threads(job.runtime.threads)
            claim = self.store.claim(job.run_id)
            if claim is None:
                event: events.Event = events.RunBusy(job.run_id)
            else:
                with claim:
                    event = self._run(job, self.runner, claim)
        except Exception as error:
            event = self._failed(job, error)
        # After the claim is given up: as soon as the parent has the event, it may give the run to another worker.
        self.send(event)
        return not events.ends_worker(event)

    def _run(self, job: Job, runner: Runner, claim: Claim) -> events.Event:
        run_id = job.run_id

        def report(done: int, total: int) -> None:
            now = time.monotonic()
            if done == total or now - self._last_report >= SECONDS_BETWEEN_REPORTS:
                self._last_report = now
                self.send(events.EpochProgress(run_id, done, total))

        if not job.redo and self.store.read(run_id) is not None:
            self.store.discard_checkpoint(run_id)
            return events.RunFinished(run_id, None)
        self.send(events.RunStarted(run_id))
        start = time.monotonic()
        try:
            # On a GPU the allocator limits memory, and the host's mappings for the GPU say nothing of what is used.
            with memory_bound() if job.runtime.device == "cpu" else nullcontext():
                runner(job.spec, job.runtime, self.store, report, lambda: self.stopping.is_set() or claim.lost)
            if not self.store.has(run_id):
                raise RuntimeError(f"{self.runner_name} returned without a record")
        except Interrupted:
            return events.RunBusy(run_id) if claim.lost else events.RunStopped(run_id)
        except PauseReached as pause:
            return events.RunPaused(run_id, pause.epochs)
        except Exception as error:
            return self._failed(job, error)
        return events.RunFinished(run_id, time.monotonic() - start)

    def _failed(self, job: Job, error: Exception) -> events.RunFailed:
        """Store the failure; returns the event, with whether the study and this process may go on."""
        epoch, trace = None, traceback.format_exc()
        # After an error on a GPU every later call of the process may fail, and memory that ran out may stay taken.
        worker_ends = job.runtime.device != "cpu" or is_out_of_memory(error) or isinstance(error, OutOfMemory)
        hopeless = isinstance(error, OSError) and error.errno in HOPELESS
        reason = describe_error(error, job.runtime)
        if isinstance(error, OutOfMemory):
            reason = str(error)
        elif is_out_of_memory(error):
            reason = f"out of memory: {reason}"[: MOST_REASON - len(ADVICE)] + ADVICE
        if isinstance(error, Diverged):
            epoch, trace, worker_ends, reason = error.epoch, "", False, str(error)
        try:
            self.store.write_failure(job.spec, reason, epoch, trace, {"host": platform.node()})
        except OSError as write_error:
            hopeless |= write_error.errno in HOPELESS
        return events.RunFailed(job.run_id, reason, hopeless, worker_ends)


def main(arguments: list[str]) -> None:
    """Run a worker. Arguments: parent's process id, output folder, runner, lease in seconds."""
    parent, root, runner, lease = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Standard output is the parent's pipe: it is kept for events, and what libraries print goes to standard error.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # A copy of standard input: a process forked while a thread waits in `sys.stdin` would block when it closes that.
    messages = os.fdopen(os.dup(0), encoding="utf-8")

    def send(event: events.Event) -> None:
        # A parent that is gone reads nothing; this process ends soon as well.
        with suppress(BrokenPipeError):
            pipe.write(events.encode_event(event) + "\n")
            pipe.flush()

    worker = Worker(Store(Path(root), lease=float(lease)), runner, send)
    # A batch system sends SIGTERM to every process: checkpoint and end, as after the parent's message to stop.
    signal.signal(signal.SIGTERM, lambda number, stack: worker.stopping.set())
    # Blocked since the parent started this process; see `bench.execution.local`.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    die_with_parent(int(parent))
    threading.Thread(target=worker.read_messages, args=(messages,), name="parent", daemon=True).start()
    worker.run_jobs()
    sys.stderr.flush()
    # Not sys.exit: unloading torch takes longer than the end of a study should, and nothing is left to do.
    os._exit(0)
