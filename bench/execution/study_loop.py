"""The loop of a study: a table of runs and their states, changed by events until every run has ended.

Read `StudyLoop.run_until_done` first, then `_handle`, which is the table of transitions.
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from types import FrameType

from bench.execution import events
from bench.execution.display import Display
from bench.execution.executor import Executor, Job, JobSource
from bench.records.store import Store
from bench.system.text import list_first

SECONDS_TO_STOP = 3.5
"""How long running jobs may take to checkpoint after a signal; the board has to be written within 5 s of it."""
SECONDS_OF_ECHO = 0.2
"""A signal so soon after another is the same one: Ctrl-C reaches a whole terminal, and torchrun hands it on as well."""
SECONDS_BETWEEN_LOOKS = 0.5
"""Time between two looks at the runs that other processes have claimed."""
HOLDERS_NAMED = 3
SECONDS_BETWEEN_WAITS = 60.0
"""Time between two notes on the processes that a study waits for, once it has nothing else to do."""
ATTEMPTS = 2
"""A run whose worker dies is given to a fresh one, once."""
DEATHS_BEFORE_GIVING_UP = 4
"""So many workers dying one after another before any run starts: the machine, not the run, is at fault."""


class Status(Enum):
    """The state of a run in a study."""

    QUEUED = auto()
    """The executor has the run, and no worker has begun it."""
    RUNNING = auto()
    WAITING_FOR_OTHER_PROCESS = auto()
    """Another process has claimed the run; its result, or the run, is taken over once the claim is given up."""
    PAUSED = auto()
    """The run stopped at the epoch that its job says; the job source may continue it."""
    FINISHED = auto()
    FAILED = auto()
    LEFT = auto()
    """The study ends without this run."""


UNDER_WAY = (Status.QUEUED, Status.RUNNING, Status.WAITING_FOR_OTHER_PROCESS)


@dataclass
class RunState:
    """One run of a study. `attempts` counts the workers that it lost; `reason` says why it failed last."""

    job: Job
    status: Status = Status.QUEUED
    attempts: int = 0
    reason: str | None = None
    failure_stamp: int = 0
    """`failure_stamp` when another process was found to have the run."""


class StudyLoop:
    """One study under way. `runs` holds the state of every run by its id, `signals` the signals received."""

    def __init__(
        self, queue: Iterable[Job], store: Store, display: Display, executor: Executor, source: JobSource | None = None
    ) -> None:
        self.store, self.display, self.executor = store, display, executor
        self.source = JobSource() if source is None else source
        self.runs: dict[str, RunState] = {}
        self.signals: list[int] = []
        self.given_up = False
        self.consecutive_worker_deaths = 0
        """Workers that died before their run began, since the last run that did begin."""
        self._queue = list(queue)
        self._counts: Counter[Status] = Counter()
        self._shown_output: set[str] = set()
        self._last_wait = -math.inf

    @property
    def finished(self) -> set[str]:
        """The ids of the runs that have a record now."""
        return {run_id for run_id, run in self.runs.items() if run.status is Status.FINISHED}

    @property
    def failed(self) -> dict[str, str]:
        """Run id -> reason, of the runs that failed and haven't finished since."""
        return {run_id: run.reason for run_id, run in self.runs.items() if run.reason is not None}

    def run_until_done(self) -> None:
        """Carry out all jobs, or as many as signals allow; closes the executor and the display."""
        try:
            with _noted_signals(self):
                self._loop()
        finally:
            self.executor.close()
            self.display.end()

    def _loop(self) -> None:
        for job in self._queue:
            self._submit(job)
        deadline: float | None = None
        last_look = time.monotonic()
        while any(self._counts[status] for status in UNDER_WAY) or (deadline is None and self.source.open):
            now = time.monotonic()
            if deadline is None and (self.signals or self.given_up):
                deadline = now + SECONDS_TO_STOP
                self._stop()
            if deadline is not None and (now > deadline or len(self.signals) > 1):
                self.executor.kill()
                return
            if deadline is None:
                for job in self.source.further():
                    self._submit(job)
            if now - last_look >= SECONDS_BETWEEN_LOOKS:
                last_look = now
                self._look_after_others()
            for event in self.executor.poll(0.1):
                self._handle(event)
            self.display.tick()

    def _submit(self, job: Job) -> None:
        run = self.runs.get(job.run_id)
        if run is None:
            run = self.runs[job.run_id] = RunState(job)
            self._counts[run.status] += 1
        run.job = job
        self._set_status(run, Status.QUEUED)
        self.executor.submit(job)

    def _set_status(self, run: RunState, status: Status) -> None:
        self._counts[run.status] -= 1
        self._counts[status] += 1
        run.status = status

    def _stop(self) -> None:
        for run_id in self.executor.stop():
            self._set_status(self.runs[run_id], Status.LEFT)
        for run in self.runs.values():
            if run.status is Status.WAITING_FOR_OTHER_PROCESS:
                self._set_status(run, Status.LEFT)
        running = self._counts[Status.QUEUED] + self._counts[Status.RUNNING]
        if self.signals and running:
            self.display.note(
                f"Stopping: {running} running may checkpoint first; the same command goes on later. "
                "Ctrl-C again ends at once."
            )

    def _handle(self, event: events.Event) -> None:
        if isinstance(event, events.WorkerOutput):
            if event.text not in self._shown_output and len(self._shown_output) < 1000:
                self._shown_output.add(event.text)
                self.display.note(event.text)
            return
        run_id, run = event.run_id, self.runs[event.run_id]
        match event:
            case events.RunStarted():
                self.consecutive_worker_deaths = 0
                # An executor that was stopped may have dropped the run after its worker wrote this event.
                if run.status is Status.QUEUED:
                    self._set_status(run, Status.RUNNING)
                self.display.started(run_id, run.job.name)
            case events.EpochProgress():
                self.display.epoch(run_id, event.done, event.total)
            case events.RunFinished():
                self._finish(run, event)
            case events.RunPaused():
                self._set_status(run, Status.PAUSED)
                self.display.gone(run_id)
                self.source.ended(run_id, event)
            case events.RunFailed():
                self._fail(run, event)
                if event.hopeless:
                    full = f"The output folder {self.store.root} takes no more. Make room, and run again."
                    self._give_up(f"{event.reason}\n{event.advice or full}")
            case events.RunBusy():
                self._set_status(run, Status.WAITING_FOR_OTHER_PROCESS)
                run.failure_stamp = failure_stamp(self.store, run_id)
                self.display.gone(run_id)
            case events.RunStopped() | events.WorkerLost():
                self.display.gone(run_id)
                self._retry(run, event)

    def _retry(self, run: RunState, event: events.RunStopped | events.WorkerLost) -> None:
        """Submit a run that came back without a result once more, unless the study ends anyway."""
        begun = run.status is Status.RUNNING
        self._set_status(run, Status.LEFT)
        if self.signals or self.given_up:
            return
        if isinstance(event, events.RunStopped):
            event = events.WorkerLost(event.run_id, "its worker was told to stop", "")
        reason = event.reason
        run.attempts += 1
        # Only deaths before a run began count: a machine that goes down takes many workers with it, all of them busy.
        self.consecutive_worker_deaths += not begun
        if run.attempts < ATTEMPTS:
            self._submit(run.job)
        else:
            reason = f"{reason}, {ATTEMPTS} times" + (f"; {event.advice}" if event.advice else "")
            try:
                self.store.write_failure(run.job.spec, reason, traceback=event.output)
            except OSError as error:
                self._give_up(f"The output folder {self.store.root} can't be written: {error.strerror}.")
            self._fail(run, events.RunFailed(event.run_id, reason))
        if self.consecutive_worker_deaths >= DEATHS_BEFORE_GIVING_UP:
            self._give_up(
                f"{self.consecutive_worker_deaths} workers died before any run began ({reason}); "
                f"see `show run {event.run_id}`."
            )

    def _finish(self, run: RunState, event: events.RunFinished) -> None:
        self._set_status(run, Status.FINISHED)
        run.reason = None
        self.display.finished(event.run_id, run.job.name, event.seconds)
        self.source.ended(event.run_id, event)

    def _fail(self, run: RunState, event: events.RunFailed) -> None:
        self._set_status(run, Status.FAILED)
        run.reason = event.reason
        self.display.failed(event.run_id, run.job.name, event.reason)
        self.source.ended(event.run_id, event)

    def _give_up(self, why: str) -> None:
        if not self.given_up:
            self.given_up = True
            self.display.note(why)

    def _look_after_others(self) -> None:
        """Take over what other processes have done with the runs they claimed: results, failures, or runs given up."""
        if not self._counts[Status.WAITING_FOR_OTHER_PROCESS]:
            return
        for run_id, run in self.runs.items():
            # A claim is given up only after the record is stored, so without a claim the store says how the run ended.
            if run.status is not Status.WAITING_FOR_OTHER_PROCESS or self.store.is_claimed(run_id):
                continue
            has_failed = failure_stamp(self.store, run_id) != run.failure_stamp
            if not run.job.redo and self.store.read(run_id) is not None:
                self._finish(run, events.RunFinished(run_id, None))
            elif has_failed and (failure := self.store.read_failure(run_id)):
                self._fail(run, events.RunFailed(run_id, failure["reason"]))
            else:
                self._submit(run.job)
        self._say_who_is_waited_for()

    def _say_who_is_waited_for(self) -> None:
        """Note now and then which processes have the last runs of a study, so that nobody wonders what it does."""
        now, busy = time.monotonic(), self._counts[Status.QUEUED] + self._counts[Status.RUNNING]
        if busy or self.source.open or now - self._last_wait < SECONDS_BETWEEN_WAITS:
            return
        waiting = [run_id for run_id, run in self.runs.items() if run.status is Status.WAITING_FOR_OTHER_PROCESS]
        holders = dict.fromkeys(filter(None, map(self.store.claim_holder, waiting)))
        if holders:
            self._last_wait = now
            runs = f"{len(waiting)} runs are" if len(waiting) > 1 else "1 run is"
            self.display.note(f"waiting for others: {runs} with {list_first(holders, HOLDERS_NAMED)}")


def failure_stamp(store: Store, run_id: str) -> int:
    """A number that changes whenever a process writes the run's failure."""
    try:
        return store.failure_path(run_id).stat().st_mtime_ns
    except OSError:
        return 0


@contextmanager
def _noted_signals(study: StudyLoop) -> Iterator[None]:
    """Append SIGINT and SIGTERM to the study's signals, instead of ending the process."""
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
