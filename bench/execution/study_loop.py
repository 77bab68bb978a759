"""The loop of a study: submit, follow, retry, and stop in time."""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from bench.execution.events import (
    EpochProgress,
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
from bench.execution.executor import Executor, Job
from bench.execution.progress import Display
from bench.records.store import Store

SECONDS_TO_STOP = 3.5
"""How long running jobs may take to checkpoint after a signal; the board has to be written within 5 s of it."""
SECONDS_OF_ECHO = 0.2
"""A signal so soon after another is the same one: Ctrl-C reaches a whole terminal, and torchrun hands it on as well."""
SECONDS_BETWEEN_LOOKS = 0.5
"""How often runs that other processes are at are looked after."""
ATTEMPTS = 2
"""A run whose worker dies is given to a fresh one, once."""
DEATHS_BEFORE_GIVING_UP = 4
"""So many workers dying one after another before any run starts: the machine, not the run, is at fault."""


class JobSource(Protocol):
    """Says what to run next, as results come in."""

    @property
    def open(self) -> bool:
        """Whether there may be more jobs, though none is under way."""

    def further(self) -> Iterable[Job]:
        """Jobs to carry out now, none of which is under way. Called often; quick where nothing has changed."""

    def ended(self, run_id: str, event: RunFinished | RunPaused | RunFailed) -> None:
        """A job has come to its end, in this process or (Finished, Failed) in another."""


class NoFurtherJobs:
    """No jobs beyond those that were known at the start."""

    open = False

    def further(self) -> Iterable[Job]:
        """None."""
        return ()

    def ended(self, run_id: str, event: RunFinished | RunPaused | RunFailed) -> None:
        """Nobody waits for it."""


class _StudyLoop:
    """One study under way: what is with the executor, what waits for other processes, what has ended."""

    def __init__(
        self, queue: list[Job], store: Store, display: Display, executor: Executor, source: JobSource | None = None
    ) -> None:
        self.jobs = {job.run_id: job for job in queue}
        self.source: JobSource = NoFurtherJobs() if source is None else source
        self.store, self.display, self.executor = store, display, executor
        self.signals: list[int] = []
        self.given_up = False
        self.finished: set[str] = set()
        self.failed: dict[str, str] = {}
        self._submitted: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._begun: set[str] = set()
        self._lost: Counter[str] = Counter()
        self._barren = 0
        self._said: set[str] = set()

    def see_through(self) -> None:
        """Carry everything out, minding signals; gives the executor and the display back."""
        try:
            with _signals(self):
                self.carry_out()
        finally:
            self.executor.close()
            self.display.end()

    def carry_out(self) -> None:
        """Submit everything and follow it to its end."""
        for run_id in self.jobs:
            self._submit(run_id)
        deadline: float | None = None
        looked = time.monotonic()
        while self._submitted or self._waiting or (deadline is None and self.source.open):
            now = time.monotonic()
            if deadline is None and (self.signals or self.given_up):
                deadline = now + SECONDS_TO_STOP
                self._stop()
            if deadline is not None and (now > deadline or len(self.signals) > 1):
                self.executor.kill()
                return
            if deadline is None:
                for job in self.source.further():
                    self.jobs[job.run_id] = job
                    self._submit(job.run_id)
            if now - looked >= SECONDS_BETWEEN_LOOKS:
                looked = now
                self._look_after_others()
            for event in self.executor.poll(0.1):
                self._handle(event)

    def _submit(self, run_id: str) -> None:
        self._submitted.add(run_id)
        self._begun.discard(run_id)
        self.executor.submit(self.jobs[run_id])

    def _stop(self) -> None:
        self._submitted -= set(self.executor.stop())
        self._waiting.clear()
        if self.signals and self._submitted:
            self.display.note(
                f"Stopping: {len(self._submitted)} running may checkpoint first; the same command goes on later. "
                "Ctrl-C again ends at once."
            )

    def _handle(self, event: Event) -> None:
        if isinstance(event, WorkerOutput):
            if event.text not in self._said and len(self._said) < 1000:
                self._said.add(event.text)
                self.display.note(event.text)
            return
        run_id, name = event.run_id, self.jobs[event.run_id].name
        if isinstance(event, RunStarted):
            self._barren = 0
            self._begun.add(run_id)
            self.display.started(run_id, name)
        elif isinstance(event, EpochProgress):
            self.display.epoch(run_id, event.done, event.total)
        else:
            self._submitted.discard(run_id)
            self._end(event, run_id, name)

    def _end(
        self, event: RunFinished | RunPaused | RunFailed | RunBusy | RunStopped | WorkerLost, run_id: str, name: str
    ) -> None:
        if isinstance(event, RunFinished):
            self._finish(event, name)
        elif isinstance(event, RunPaused):
            self.display.gone(run_id)
            self.source.ended(run_id, event)
        elif isinstance(event, RunFailed):
            self._fail(event, name)
            if event.hopeless:
                advice = event.advice or f"The output folder {self.store.root} takes no more. Make room, and run again."
                self._give_up(f"{event.reason}\n{advice}")
        elif isinstance(event, RunBusy):
            self.display.gone(run_id)
            self._waiting[run_id] = self._failure_stamp(run_id)
        else:
            self.display.gone(run_id)
            self._again(event, run_id, name)

    def _again(self, event: RunStopped | WorkerLost, run_id: str, name: str) -> None:
        """A run came back without a result: once more in a fresh worker, unless the study ends anyway."""
        if self.signals or self.given_up:
            return
        reason = event.reason if isinstance(event, WorkerLost) else "its worker was told to stop"
        self._lost[run_id] += 1
        # A machine that goes takes many workers with it, all of them at work.
        self._barren += run_id not in self._begun
        if self._lost[run_id] < ATTEMPTS:
            self._submit(run_id)
        else:
            output = event.output if isinstance(event, WorkerLost) else ""
            advice = f"; {event.advice}" if isinstance(event, WorkerLost) and event.advice else ""
            reason = f"{reason}, {ATTEMPTS} times{advice}"
            try:
                self.store.write_failure(self.jobs[run_id].spec, reason, traceback=output)
            except OSError as error:
                self._give_up(f"The output folder {self.store.root} can't be written: {error.strerror}.")
            self._fail(RunFailed(run_id, reason), name)
        if self._barren >= DEATHS_BEFORE_GIVING_UP:
            self._give_up(f"{self._barren} workers died before any run began ({reason}); see `show run {run_id}`.")

    def _finish(self, event: RunFinished, name: str) -> None:
        self.finished.add(event.run_id)
        self.failed.pop(event.run_id, None)
        self.display.finished(event.run_id, name, event.seconds)
        self.source.ended(event.run_id, event)

    def _fail(self, event: RunFailed, name: str) -> None:
        self.failed[event.run_id] = event.reason
        self.display.failed(event.run_id, name, event.reason)
        self.source.ended(event.run_id, event)

    def _give_up(self, why: str) -> None:
        if not self.given_up:
            self.given_up = True
            self.display.note(why)

    def _look_after_others(self) -> None:
        """Runs that other processes had claimed: take over their results, or the runs that they gave up."""
        for run_id, stamp in list(self._waiting.items()):
            job = self.jobs[run_id]
            if self.store.is_claimed(run_id):
                continue
            del self._waiting[run_id]
            if not job.redo and self.store.read(run_id) is not None:
                self._finish(RunFinished(run_id, None), job.name)
            elif self._failure_stamp(run_id) != stamp and (failure := self.store.read_failure(run_id)):
                self._fail(RunFailed(run_id, failure["reason"]), job.name)
            else:
                self._submit(run_id)

    def _failure_stamp(self, run_id: str) -> int:
        """Changes whenever somebody writes the run's failure."""
        try:
            return self.store.failure_path(run_id).stat().st_mtime_ns
        except OSError:
            return 0


@contextmanager
def _signals(study: _StudyLoop) -> Iterator[None]:
    """Note SIGINT and SIGTERM for the study instead of dying of them."""

    last = -math.inf

    def note(number: int, stack: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_OF_ECHO:
            study.signals.append(number)
        last = now

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:  # not in the main thread: signals are the caller's business
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
