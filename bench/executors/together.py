"""One run on several processes, as `torchrun` starts them: the first one leads the study, the others follow it.

The leader's jobs go to every process, which carry each out together; only the leader claims, writes and reports.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.executors.worker import Worker
from bench.job import DIVERGED, Diverged, Event, Failed, Interrupted, Job, Pause, Report
from bench.spec import RunSpec, Runtime
from bench.store import Store


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
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def tell(message: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The leader's message, in every process."""
    from bench.core.ranks import present

    told: Mapping[str, Any] | None = present().told(message)
    return told


def lead(spec: RunSpec, runtime: Runtime, store: Store, report: Report, should_stop: Callable[[], bool]) -> None:
    """The leader's run: tell the followers, then train with them."""
    from bench.run import run

    tell({"spec": spec.model_dump(mode="json"), "runtime": runtime.model_dump(mode="json")})
    run(spec, runtime, store, report, should_stop)


def follow(root: Path, device: str) -> None:
    """A follower's life: train what the leader trains, until it says no more. Signals are the leader's to hear."""
    from bench.run import run

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    store = Store(root)
    while (message := tell(None)) is not None:
        runtime = Runtime(**message["runtime"]).model_copy(update={"device": device})
        with suppress(Interrupted, Pause, Diverged):
            run(RunSpec(**message["spec"]), runtime, store, _silent)


def _silent(done: int, total: int) -> None:
    """The leader reports."""


class TogetherExecutor:
    """The leader's side: one job at a time, which all processes carry out.

    A failure that isn't the training's own (memory that ran out in one process) leaves the others waiting in the middle
    of a step, so it ends the study; the same command goes on with the next run.
    """

    def __init__(self, root: Path, lease: float) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._worker = Worker(root, lead, lease, self._hear)
        self._thread = threading.Thread(target=self._worker.serve, name="leader", daemon=True)
        self._thread.start()
        self._broken = False

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
        dropped = []
        with suppress(queue.Empty):
            while True:
                job = self._worker.jobs.get_nowait()
                if job is not None:
                    dropped.append(job.run_id)
        return dropped

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

    def _hear(self, event: Event) -> None:
        if isinstance(event, Failed) and not event.reason.startswith(DIVERGED):
            self._broken = True
            event = replace(event, hopeless=True)
        self._events.put(event)
