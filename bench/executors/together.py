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
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.executors.worker import MOST_REASON, Worker
from bench.job import DIVERGED, Diverged, Event, Failed, Interrupted, Job, OutOfMemory, Pause, Report
from bench.spec import RunSpec, Runtime
from bench.store import Store

MINUTES_TO_WAIT = 30
"""How long a process waits for the others before it takes them for stuck: the leader may be reading data meanwhile."""
SECONDS_OF_SILENCE = 60.0
"""How long the leader, waiting for runs that others are at, lets its followers wait without a word."""
ADVICE = "The processes can't go on together after that; the same command goes on, with what has failed last."


class ProcessFailed(Exception):  # noqa: N818 - named as its reason reads
    """A follower couldn't go on, and said why."""


@dataclass(frozen=True)
class World:
    """What torchrun says to each process: its number in all and on its machine, and how many there are of either."""

    number: int = 0
    local: int = 0
    size: int = 1
    local_size: int = 1


def world(environment: Mapping[str, str] = os.environ) -> World:
    """What torchrun's variables say; one process alone without them. Raises UsageError where some are missing."""
    if "TORCHELASTIC_RUN_ID" not in environment or environment.get("WORLD_SIZE") == "1":
        return World()
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    found = {name: environment.get(name, "") for name in names}
    if not all(text.isdigit() for text in found.values()):
        said = ", ".join(f"{name}={text or '(none)'}" for name, text in found.items())
        raise UsageError(f"torchrun's variables are incomplete: {said}. Type: torchrun --nproc-per-node 2 -m bench run")
    return World(*map(int, found.values()))


def join(here: World, device: str) -> str:
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


def tell(message: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The leader's message, in every process."""
    from bench.core.ranks import present

    told: Mapping[str, Any] | None = present().told(message)
    return told


def lead(spec: RunSpec, runtime: Runtime, store: Store, report: Report, should_stop: Callable[[], bool]) -> None:
    """The leader's run: tell the followers, then train with them.

    Raises ProcessFailed with a follower's reason where one of them failed; all that is seen of it here is that it no
    longer answers.
    """
    from bench.run import run

    before = _stamp(store, spec.run_id)
    tell({"spec": spec.model_dump(mode="json"), "runtime": runtime.model_dump(mode="json")})
    try:
        run(spec, runtime, store, report, should_stop)
    except (Interrupted, Pause, Diverged):
        raise
    except Exception as error:
        failure = store.read_failure(spec.run_id) if _stamp(store, spec.run_id) != before else None
        if failure is None:
            raise
        told = ProcessFailed(failure["reason"])
        told.add_note(failure["traceback"])
        raise told from error


def follow(root: Path, device: str, here: World) -> None:
    """A follower's life: train what the leader trains, until it says no more. Signals are the leader's to hear."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    store = Store(root)
    while (message := tell(None)) is not None:
        if message:
            runtime = Runtime(**message["runtime"]).model_copy(update={"device": device})
            _train_along(RunSpec(**message["spec"]), runtime, store, here)


def _train_along(spec: RunSpec, runtime: Runtime, store: Store, here: World) -> None:
    """One run; a failure in it ends this process, since the others are in the middle of a step and wait for it."""
    from bench.run import run

    before = _stamp(store, spec.run_id)
    try:
        with suppress(Interrupted, Pause, Diverged):
            run(spec, runtime, store, _silent)
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


class TogetherExecutor:
    """The leader's side: one job at a time, which all processes carry out.

    A failure that isn't the training's own (memory that ran out in one process) leaves the others waiting in the middle
    of a step, so it ends the study and all processes; the same command goes on, with the run that failed last.
    """

    def __init__(self, root: Path, lease: float) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._worker = Worker(root, lead, lease, self._hear, self._reassure)
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
            tell(None)
        self._broken = True

    def _reassure(self) -> None:
        """Say that there is nothing to do yet, lest the followers take the leader for stuck."""
        if not self._broken and time.monotonic() - self._spoke >= SECONDS_OF_SILENCE:
            tell({})
            self._spoke = time.monotonic()

    def _hear(self, event: Event) -> None:
        if isinstance(event, Failed) and not event.reason.startswith(DIVERGED):
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
