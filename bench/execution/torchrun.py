"""One run on several processes that `torchrun` started: the first one leads the study, the others follow it.

All processes train each run together; the leader alone claims, writes and reports. Read `lead_run` and `follow_leader`
first, which exchange the jobs, then `TorchrunExecutor`, the leader's side for a study.
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

from bench.execution.backends import Backend
from bench.execution.events import Event, RunFailed
from bench.execution.executor import Executor, Job, SharedExecutor
from bench.execution.study_loop import failure_stamp
from bench.execution.worker import MOST_REASON, Worker, describe_error
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
"""How long a process waits for the others until it fails: the leader may be reading data meanwhile."""
SECONDS_OF_SILENCE = 60.0
"""After so long without a job the leader sends an empty message, so that waiting followers don't run into the limit."""
ADVICE = "The processes can't go on together after that; the same command goes on, with what has failed last."


class ProcessFailed(Exception):  # noqa: N818 - named as its reason reads
    """A follower failed, for the reason that it stored as the run's failure."""


def join_process_group(world: TorchrunWorld, device: str) -> str:
    """Join the other processes, by nccl on GPUs and gloo on the CPU; returns this process's device.

    Waits until every process has joined.
    """
    import torch
    from torch import distributed

    if device.startswith("cuda"):
        device = f"cuda:{world.local}"
        torch.cuda.set_device(world.local)
    distributed.init_process_group(
        "nccl" if device.startswith("cuda") else "gloo", timeout=timedelta(minutes=MINUTES_TO_WAIT)
    )
    return device


def leave_process_group() -> None:
    """End this process's threads of the group, after the last message.

    Left to the interpreter's exit they may still run while it takes down what they use, and that aborts the process
    (SIGABRT), so that torchrun reports a failure after a study that went well.
    """
    from torch import distributed

    distributed.destroy_process_group()


def broadcast_message(message: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The leader's message, in every process; waits until all processes call this."""
    from bench.training.distributed import current_process_group

    received: Mapping[str, Any] | None = current_process_group().broadcast_object(message)
    return received


def lead_run(
    spec: RunSpec, runtime: Runtime, store: Store, report: ReportProgress, should_stop: Callable[[], bool]
) -> None:
    """Send the run to the followers, and train it with them; the leader's runner.

    Raises ProcessFailed with a follower's reason where one of them failed. The leader itself only sees that a process
    no longer answers; the reason is in the failure that the follower has stored.
    """
    from bench.training.run import run_spec

    before = failure_stamp(store, spec.run_id)
    broadcast_message({"spec": spec.model_dump(mode="json"), "runtime": runtime.model_dump(mode="json")})
    try:
        run_spec(spec, runtime, store, report, should_stop)
    except (Interrupted, PauseReached, Diverged):
        raise
    except Exception as error:
        failure = store.read_failure(spec.run_id) if failure_stamp(store, spec.run_id) != before else None
        if failure is None:
            raise
        follower_error = ProcessFailed(failure["reason"])
        follower_error.add_note(failure["traceback"])
        raise follower_error from error


def follow_leader(root: Path, device: str, world: TorchrunWorld) -> None:
    """Train the leader's runs along with it until it sends None; then leave the group."""
    # Signals reach every process; the leader alone handles them, and its stop vote ends the run in all at one step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    store = Store(root)
    while (message := broadcast_message(None)) is not None:
        if message:
            runtime = Runtime(**message["runtime"]).model_copy(update={"device": device})
            _train_along(RunSpec(**message["spec"]), runtime, store, world)
    leave_process_group()


def _train_along(spec: RunSpec, runtime: Runtime, store: Store, world: TorchrunWorld) -> None:
    """Train one run; a failure ends this process, since the others wait for it in the middle of a step."""
    from bench.training.run import run_spec

    before = failure_stamp(store, spec.run_id)
    try:
        with suppress(Interrupted, PauseReached, Diverged):
            run_spec(spec, runtime, store, lambda done, total: None)  # the leader reports
    except Exception as error:
        cause = " ".join(str(error).split()) if isinstance(error, OutOfMemory) else describe_error(error, runtime)
        reason = f"process {world.number} of {world.size}: {cause}"[:MOST_REASON]
        # If the leader has stored its own reason, the error here is only that the leader no longer answers.
        if failure_stamp(store, spec.run_id) == before:
            with suppress(OSError):
                store.write_failure(
                    spec, reason, traceback=traceback.format_exc(), provenance={"host": platform.node()}
                )
            sys.stderr.write(f"{reason}\n")
        sys.stderr.flush()
        # Not sys.exit: leaving the process group in order would wait for the others, which are stuck.
        os._exit(1)


class TorchrunExecutor:
    """The leader's executor: one job at a time, which all processes carry out. A thread of its own runs the jobs.

    After a failure other than divergence (memory that ran out in one process, say) the other processes wait in the
    middle of a step, so the study and all processes end; the same command goes on, and tries the failed run last.
    """

    def __init__(self, root: Path, lease: float) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._worker = Worker(Store(root, lease=lease), lead_run, self._note_event)
        self._worker.idle = self._keep_followers_waiting
        self._last_message = time.monotonic()
        self._broken = False
        self._dropped: list[str] = []
        self._thread = threading.Thread(target=self._worker.run_jobs, name="leader", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take a job; it starts when those before it have ended."""
        self._worker.jobs.put(job)

    def poll(self, seconds: float) -> list[Event]:
        """The events since the last call; waits at most `seconds` for the first one."""
        events: list[Event] = []
        with suppress(queue.Empty):
            events.append(self._events.get(timeout=seconds))
            while True:
                events.append(self._events.get_nowait())
        return events

    def stop(self) -> list[str]:
        """Ask the running job to checkpoint and end; returns the run ids of jobs that hadn't begun and are dropped."""
        self._worker.stopping.set()
        self._drop()
        return self._dropped

    def kill(self) -> None:
        """End this process at once; torchrun ends the others."""
        os._exit(128 + signal.SIGTERM)

    def close(self) -> None:
        """End the followers, unless they are stuck after a failure: then torchrun ends them. Safe to call twice."""
        self._worker.jobs.put(None)
        self._thread.join()
        if not self._broken:
            broadcast_message(None)
            leave_process_group()
        self._broken = True

    def _keep_followers_waiting(self) -> None:
        """Send an empty message if the last one is long ago: a broadcast that waits too long fails."""
        if not self._broken and time.monotonic() - self._last_message >= SECONDS_OF_SILENCE:
            broadcast_message({})
            self._last_message = time.monotonic()

    def _note_event(self, event: Event) -> None:
        if isinstance(event, RunFailed) and not event.reason.startswith(DIVERGED):
            self._broken = True
            # Called in the thread that runs jobs: without this it would begin the next run, which no follower joins.
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
        """Join the followers, which wait for it; runs are on the device of this process."""
        device = join_process_group(self._world, facts.device)
        self._executor = TorchrunExecutor(store.root, store.lease)
        return super().start(replace(facts, device=device), store, limits, runs)

    def make_executor(self, runs: int) -> Executor:
        """The one executor, for one study after another."""
        assert self._executor is not None
        return SharedExecutor(self._executor)

    def close(self) -> None:
        """End the followers."""
        if self._executor is not None:
            self._executor.close()
