"""One run on several processes, as `torchrun` starts them: the first one leads the study, the others follow it.

The leader's jobs go to every process, which carry each out together; only the leader claims, writes and reports.
"""

from __future__ import annotations

import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.execution.events import Event, RunFailed
from bench.execution.executor import Backend, Executor, Job, SharedExecutor
from bench.execution.runtimes import make_runtimes
from bench.execution.worker import MOST_REASON, Worker
from bench.memory.job_limits import JobLimits
from bench.planning.facts import Facts
from bench.planning.request import Request
from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.system import hardware
from bench.system.errors import UsageError
from bench.system.processes import TorchrunWorld, torchrun_world
from bench.training.outcome import DIVERGED, Diverged, Interrupted, OutOfMemory, PauseReached, ReportProgress

MINUTES_TO_WAIT = 30
"""How long a process waits for the others before it takes them for stuck: the leader may be reading data meanwhile."""
SECONDS_OF_SILENCE = 60.0
"""How long the leader, waiting for runs that others are at, lets its followers wait without a word."""
ADVICE = "The processes can't go on together after that; the same command goes on, with what has failed last."


class FollowerFailed(Exception):  # noqa: N818 - named as its reason reads
    """A follower couldn't go on, and said why."""


def join_process_group(here: TorchrunWorld, device: str) -> str:
    """Meet the other processes, over nccl between cards and gloo between processors; returns this process's device."""
    import torch
    from torch import distributed

    if device.startswith("cuda"):
        device = f"cuda:{here.local}"
        torch.cuda.set_device(here.local)
    distributed.init_process_group(
        "nccl" if device.startswith("cuda") else "gloo", timeout=timedelta(minutes=MINUTES_TO_WAIT)
    )
    return device


def broadcast_message(message: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The leader's message, in every process."""
    from bench.training.distributed import current_process_group

    told: Mapping[str, Any] | None = current_process_group().broadcast_object(message)
    return told


def lead_run(
    spec: RunSpec, runtime: Runtime, store: Store, report: ReportProgress, should_stop: Callable[[], bool]
) -> None:
    """The leader's run: tell the followers, then train with them.

    Raises ProcessFailed with a follower's reason where one of them failed; all that is seen of it here is that it no
    longer answers.
    """
    from bench.training.run import run_spec

    before = _stamp(store, spec.run_id)
    broadcast_message({"spec": spec.model_dump(mode="json"), "runtime": runtime.model_dump(mode="json")})
    try:
        run_spec(spec, runtime, store, report, should_stop)
    except (Interrupted, PauseReached, Diverged):
        raise
    except Exception as error:
        failure = store.read_failure(spec.run_id) if _stamp(store, spec.run_id) != before else None
        if failure is None:
            raise
        told = FollowerFailed(failure["reason"])
        told.add_note(failure["traceback"])
        raise told from error


def follow_leader(root: Path, device: str, here: TorchrunWorld) -> None:
    """A follower's life: train what the leader trains, until it says no more. Signals are the leader's to hear."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    store = Store(root)
    while (message := broadcast_message(None)) is not None:
        if message:
            runtime = Runtime(**message["runtime"]).model_copy(update={"device": device})
            _train_along(RunSpec(**message["spec"]), runtime, store, here)


def _train_along(spec: RunSpec, runtime: Runtime, store: Store, here: TorchrunWorld) -> None:
    """One run; a failure in it ends this process, since the others are in the middle of a step and wait for it."""
    from bench.training.run import run_spec

    before = _stamp(store, spec.run_id)
    try:
        with suppress(Interrupted, PauseReached, Diverged):
            run_spec(spec, runtime, store, _silent)
    except Exception as error:
        said = " ".join(str(error).split()) or "no message"
        what = said if isinstance(error, OutOfMemory) else f"{type(error).__name__}: {said}"
        reason = f"process {here.number} of {here.size}: {what}"[:MOST_REASON]
        # where the leader has written its own reason, what is seen here is only that it no longer answers
        if _stamp(store, spec.run_id) == before:
            with suppress(OSError):
                store.write_failure(
                    spec, reason, traceback=traceback.format_exc(), provenance={"host": platform.node()}
                )
            sys.stderr.write(f"{reason}\n")
        sys.stderr.flush()
        # not sys.exit: leaving the process group in peace would wait for the others
        os._exit(1)


def _stamp(store: Store, run_id: str) -> int:
    """Changes whenever somebody writes the run's failure."""
    try:
        return store.failure_path(run_id).stat().st_mtime_ns
    except OSError:
        return 0


def _silent(done: int, total: int) -> None:
    """The leader reports."""


class TorchrunExecutor:
    """The leader's side: one job at a time, which all processes carry out.

    A failure that isn't the training's own (memory that ran out in one process) leaves the others waiting in the middle
    of a step, so it ends the study and all processes; the same command goes on, with the run that failed last.
    """

    def __init__(self, root: Path, lease: float) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._worker = Worker(root, lead_run, lease, self._hear, self._reassure)
        self._spoke = time.monotonic()
        self._thread = threading.Thread(target=self._worker.serve, name="leader", daemon=True)
        self._thread.start()
        self._broken = False
        self._dropped: list[str] = []

    def submit(self, job: Job) -> None:
        """Take a job; it starts when those before it have ended."""
        self._worker.jobs.put(job)

    def poll(self, seconds: float) -> list[Event]:
        """What has happened since the last call; waits at most `seconds` for the first event."""
        found: list[Event] = []
        with suppress(queue.Empty):
            found.append(self._events.get(timeout=seconds))
            while True:
                found.append(self._events.get_nowait())
        return found

    def stop(self) -> list[str]:
        """Ask the running job to checkpoint and end; returns the run ids of jobs that hadn't begun."""
        self._worker.stopping.set()
        self._drop()
        return self._dropped

    def kill(self) -> None:
        """End this process at once; torchrun ends the others."""
        os._exit(128 + signal.SIGTERM)

    def close(self) -> None:
        """Send the followers home, unless they are stuck where the leader failed."""
        self._worker.jobs.put(None)
        self._thread.join()
        if not self._broken:
            broadcast_message(None)
        self._broken = True

    def _reassure(self) -> None:
        """Say that there is nothing to do yet, lest the followers take the leader for stuck."""
        if not self._broken and time.monotonic() - self._spoke >= SECONDS_OF_SILENCE:
            broadcast_message({})
            self._spoke = time.monotonic()

    def _hear(self, event: Event) -> None:
        if isinstance(event, RunFailed) and not event.reason.startswith(DIVERGED):
            self._broken = True
            # this is the leader's thread: it must not begin another run alone
            self._drop()
            event = replace(event, hopeless=True, advice=ADVICE)
        self._events.put(event)

    def _drop(self) -> None:
        """Take back the jobs that haven't begun."""
        with suppress(queue.Empty):
            while True:
                job = self._worker.jobs.get_nowait()
                if job is not None:
                    self._dropped.append(job.run_id)


class TorchrunBackend(Backend):
    """The processes that torchrun started, which train one run at a time together."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._world = torchrun_world()
        self._executor: TorchrunExecutor | None = None
        self.processes = self._world.size
        self.is_follower = self._world.number > 0

    def follow(self) -> int:
        """Train along with the main process until it ends; returns the exit code."""
        if not self.request.dry_run:
            device = join_process_group(self._world, hardware.resolve_device(self.request.device))
            follow_leader(Path(self.request.out), device, self._world)
        return 0

    def limit_jobs(self, specs: Sequence[RunSpec], facts: Facts, runs: int, at_most: int | None = None) -> JobLimits:
        """The cores of this machine, shared among the processes on it. Raises UsageError where `--jobs` is over 1."""
        if self.request.jobs not in (None, 1):
            raise UsageError(
                f"--jobs {self.request.jobs}: under torchrun the processes train one run at a time. Leave it out"
            )
        processes = self._world.local_size
        return JobLimits(*hardware.share_cores(facts.cores, processes, facts.device, processes))

    def start(self, facts: Facts, store: Store, limits: JobLimits, runs: int) -> Callable[[RunSpec], Runtime]:
        """Join the followers, which wait for it."""
        device = join_process_group(self._world, facts.device)
        self._executor = TorchrunExecutor(store.root, store.lease)
        return make_runtimes(self.request, replace(facts, device=device), limits)

    def count_jobs(self) -> int:
        """1: all processes train the same run."""
        return 1

    def make_executor(self, runs: int) -> Executor:
        """The one executor, for one study after another."""
        assert self._executor is not None
        return SharedExecutor(self._executor)

    def close(self) -> None:
        """End the followers."""
        if self._executor is not None:
            self._executor.close()
