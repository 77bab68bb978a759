"""A study: the runs asked for, minus those that the store has, carried out and seen through to the end.

What to run may also show only on the way, as results come in: then a `Source` says it.
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal, Protocol, get_args

from bench.errors import UsageError
from bench.executors import Executor
from bench.executors.local import LocalExecutor
from bench.job import Busy, Epoch, Event, Failed, Finished, Job, Lost, Paused, Said, Started, Stopped
from bench.progress import Display, Silent
from bench.spec import RunSpec, Runtime
from bench.store import Store

When = Literal["missing", "always", "never", "failed"]
"""missing: what has no record, failures included. always: everything again. never: nothing. failed: failures only."""

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


@dataclass(frozen=True)
class Outcome:
    """What became of every run asked for, each once, by run id in the order of the study.

    `finished` has its record since this study (also by another process), `skipped` had it before; `failed` gives the
    reason; `left` has no record, and nobody tried or the study ended first. `interrupted_signal`: what ended it.
    """

    finished: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    interrupted_signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0: every run has a record; 1: not so; 128 + signal where one ended the study."""
        if self.interrupted_signal is not None:
            return 128 + self.interrupted_signal
        return 1 if self.failed or self.left else 0


class Source(Protocol):
    """Says what to run next, as results come in."""

    @property
    def open(self) -> bool:
        """Whether there may be more jobs, though none is under way."""

    def further(self) -> Iterable[Job]:
        """Jobs to carry out now, none of which is under way. Called often; quick where nothing has changed."""

    def ended(self, run_id: str, event: Finished | Paused | Failed) -> None:
        """A job has come to its end, in this process or (Finished, Failed) in another."""


class Nothing:
    """No jobs beyond those that were known at the start."""

    open = False

    def further(self) -> Iterable[Job]:
        """None."""
        return ()

    def ended(self, run_id: str, event: Finished | Paused | Failed) -> None:
        """Nobody waits for it."""


def left_to_run(specs: Iterable[RunSpec], store: Store, when: When = "missing") -> tuple[list[RunSpec], list[str]]:
    """(the specs to run now, the run ids that have their record already), equal ids once, replicate by replicate.

    All methods meet the first replicate before any meets the second, so that an early board compares them all; what
    has failed before comes last, lest it end a study before others had their turn. By one look at the store's folder
    for either; records aren't opened.
    """
    if when not in get_args(When):
        raise UsageError(f"--when {when} is none of {', '.join(get_args(When))}.")
    once = {spec.run_id: spec for spec in specs}
    ordered = sorted(once.items(), key=lambda item: (item[1].seed, item[1].noise_seed, item[1].split_seed))
    have = store.finished(once)
    if when == "always":
        return [spec for _, spec in ordered], []
    skipped = [run_id for run_id, _ in ordered if run_id in have]
    if when == "never":
        return [], skipped
    failed = store.failed(once)
    left = [(run_id in failed, spec) for run_id, spec in ordered if run_id not in have]
    if when == "failed":
        return [spec for again, spec in left if again], skipped
    return [spec for _, spec in sorted(left, key=lambda item: item[0])], skipped


def run_study(
    specs: Iterable[RunSpec],
    runtime: Runtime | Callable[[RunSpec], Runtime],
    store: Store,
    jobs: int = 1,
    when: When = "missing",
    display: Display | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
) -> Outcome:
    """Carry out what is missing of `specs` in at most `jobs` processes, and say what became of each.

    `runtime` is one for all, or a function of the spec; `executor` is one, or what makes one if anything is to run. The
    first SIGINT or SIGTERM lets running jobs checkpoint and ends within SECONDS_TO_STOP; a second one ends at once.
    Call it in the main thread for that. Raises UsageError where the store can't be written, before anything runs.
    """
    specs = list(specs)
    display = Silent() if display is None else display
    # Read what would be skipped: a corrupt record is set aside by that, and its run is missing again.
    if when != "always":
        for run_id in left_to_run(specs, store, when)[1]:
            if store.read(run_id) is not None and when != "never":
                store.tidy(run_id)
    todo, skipped = left_to_run(specs, store, when)
    order = list(dict.fromkeys(spec.run_id for spec in [*todo, *specs]))
    if not todo:
        have = set(skipped)
        return Outcome(skipped=tuple(skipped), left=tuple(run_id for run_id in order if run_id not in have))
    if callable(executor):  # before anything is written: it may find the request wrong
        executor = executor()
    store.prepare()
    runtime_of = (lambda spec: runtime) if isinstance(runtime, Runtime) else runtime
    queue = [Job(spec, runtime_of(spec), redo=when == "always") for spec in todo]
    if executor is None:
        executor = LocalExecutor(store.root, min(jobs, len(queue)), queue[0].runtime.threads, lease=store.lease)
    study = _Study(queue, store, display, executor)
    display.begin(len(queue) + len(skipped), len(skipped))
    study.see_through()
    ended = {*study.finished, *study.failed, *skipped}
    return Outcome(
        finished=tuple(run_id for run_id in order if run_id in study.finished),
        failed={run_id: study.failed[run_id] for run_id in order if run_id in study.failed},
        skipped=tuple(skipped),
        left=tuple(run_id for run_id in order if run_id not in ended),
        interrupted_signal=study.signals[0] if study.signals else None,
    )


def follow(source: Source, store: Store, display: Display, executor: Executor) -> Outcome:
    """Carry out what `source` says until it has no more, and say what became of it; `run_study` of jobs unknown yet.

    `left` stays empty: what a source would have said is its own to know. Raises UsageError where the store can't be
    written, before anything runs.
    """
    store.prepare()
    study = _Study([], store, display, executor, source)
    display.begin(0, 0)
    study.see_through()
    return Outcome(
        finished=tuple(sorted(study.finished)),
        failed=dict(study.failed),
        interrupted_signal=study.signals[0] if study.signals else None,
    )


class _Study:
    """One study under way: what is with the executor, what waits for other processes, what has ended."""

    def __init__(
        self, queue: list[Job], store: Store, display: Display, executor: Executor, source: Source | None = None
    ) -> None:
        self.jobs = {job.run_id: job for job in queue}
        self.source: Source = Nothing() if source is None else source
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
        if isinstance(event, Said):
            if event.text not in self._said and len(self._said) < 1000:
                self._said.add(event.text)
                self.display.note(event.text)
            return
        run_id, name = event.run_id, self.jobs[event.run_id].name
        if isinstance(event, Started):
            self._barren = 0
            self._begun.add(run_id)
            self.display.started(run_id, name)
        elif isinstance(event, Epoch):
            self.display.epoch(run_id, event.done, event.total)
        else:
            self._submitted.discard(run_id)
            self._end(event, run_id, name)

    def _end(self, event: Finished | Paused | Failed | Busy | Stopped | Lost, run_id: str, name: str) -> None:
        if isinstance(event, Finished):
            self._finish(event, name)
        elif isinstance(event, Paused):
            self.display.gone(run_id)
            self.source.ended(run_id, event)
        elif isinstance(event, Failed):
            self._fail(event, name)
            if event.hopeless:
                advice = event.advice or f"The output folder {self.store.root} takes no more. Make room, and run again."
                self._give_up(f"{event.reason}\n{advice}")
        elif isinstance(event, Busy):
            self.display.gone(run_id)
            self._waiting[run_id] = self._failure_stamp(run_id)
        else:
            self.display.gone(run_id)
            self._again(event, run_id, name)

    def _again(self, event: Stopped | Lost, run_id: str, name: str) -> None:
        """A run came back without a result: once more in a fresh worker, unless the study ends anyway."""
        if self.signals or self.given_up:
            return
        reason = event.reason if isinstance(event, Lost) else "its worker was told to stop"
        self._lost[run_id] += 1
        # A machine that goes takes many workers with it, all of them at work.
        self._barren += run_id not in self._begun
        if self._lost[run_id] < ATTEMPTS:
            self._submit(run_id)
        else:
            output = event.output if isinstance(event, Lost) else ""
            advice = f"; {event.advice}" if isinstance(event, Lost) and event.advice else ""
            reason = f"{reason}, {ATTEMPTS} times{advice}"
            try:
                self.store.write_failure(self.jobs[run_id].spec, reason, traceback=output)
            except OSError as error:
                self._give_up(f"The output folder {self.store.root} can't be written: {error.strerror}.")
            self._fail(Failed(run_id, reason), name)
        if self._barren >= DEATHS_BEFORE_GIVING_UP:
            self._give_up(f"{self._barren} workers died before any run began ({reason}); see `show run {run_id}`.")

    def _finish(self, event: Finished, name: str) -> None:
        self.finished.add(event.run_id)
        self.failed.pop(event.run_id, None)
        self.display.finished(event.run_id, name, event.seconds)
        self.source.ended(event.run_id, event)

    def _fail(self, event: Failed, name: str) -> None:
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
                self._finish(Finished(run_id, None), job.name)
            elif self._failure_stamp(run_id) != stamp and (failure := self.store.read_failure(run_id)):
                self._fail(Failed(run_id, failure["reason"]), job.name)
            else:
                self._submit(run_id)

    def _failure_stamp(self, run_id: str) -> int:
        """Changes whenever somebody writes the run's failure."""
        try:
            return self.store.failure_path(run_id).stat().st_mtime_ns
        except OSError:
            return 0


@contextmanager
def _signals(study: _Study) -> Iterator[None]:
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
