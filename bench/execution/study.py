"""A study: the runs asked for, minus those that the store has, carried out and seen through to the end.

What to run may also show only on the way, as results come in: then a `Source` says it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from bench.execution.executor import Executor, Job
from bench.execution.local import LocalExecutor
from bench.execution.progress import Display, SilentDisplay
from bench.execution.study_loop import JobSource, _StudyLoop
from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.system.errors import UsageError

When = Literal["missing", "always", "never", "failed"]
"""missing: what has no record, failures included. always: everything again. never: nothing. failed: failures only."""


@dataclass(frozen=True)
class StudyOutcome:
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


def split_by_stored(specs: Iterable[RunSpec], store: Store, when: When = "missing") -> tuple[list[RunSpec], list[str]]:
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
    executor: Executor | Callable[[int], Executor] | None = None,
) -> StudyOutcome:
    """Carry out what is missing of `specs` in at most `jobs` processes, and say what became of each.

    `runtime` is one for all, or a function of the spec. `executor` is one, or a function that makes one for so many
    runs and is called only if there are any; by default, local processes. The first SIGINT or SIGTERM lets running jobs
    checkpoint and ends the study within SECONDS_TO_STOP; a second one ends it at once: call this in the main thread for
    that. Raises UsageError where the store can't be written, before anything runs.
    """
    specs = list(specs)
    display = SilentDisplay() if display is None else display
    # Read what would be skipped: a corrupt record is set aside by that, and its run is missing again.
    if when != "always":
        for run_id in split_by_stored(specs, store, when)[1]:
            if store.read(run_id) is not None and when != "never":
                store.tidy(run_id)
    todo, skipped = split_by_stored(specs, store, when)
    order = list(dict.fromkeys(spec.run_id for spec in [*todo, *specs]))
    if not todo:
        have = set(skipped)
        return StudyOutcome(skipped=tuple(skipped), left=tuple(run_id for run_id in order if run_id not in have))
    if callable(executor):  # before anything is written, since it may raise UsageError
        executor = executor(len(todo))
    store.prepare()
    runtime_of = (lambda spec: runtime) if isinstance(runtime, Runtime) else runtime
    queue = [Job(spec, runtime_of(spec), redo=when == "always") for spec in todo]
    if executor is None:
        executor = LocalExecutor(store.root, min(jobs, len(queue)), queue[0].runtime.threads, lease=store.lease)
    study = _StudyLoop(queue, store, display, executor)
    display.begin(len(queue) + len(skipped), len(skipped))
    study.see_through()
    ended = {*study.finished, *study.failed, *skipped}
    return StudyOutcome(
        finished=tuple(run_id for run_id in order if run_id in study.finished),
        failed={run_id: study.failed[run_id] for run_id in order if run_id in study.failed},
        skipped=tuple(skipped),
        left=tuple(run_id for run_id in order if run_id not in ended),
        interrupted_signal=study.signals[0] if study.signals else None,
    )


def run_job_source(source: JobSource, store: Store, display: Display, executor: Executor) -> StudyOutcome:
    """Carry out what `source` says until it has no more, and say what became of it; `run_study` of jobs unknown yet.

    `left` stays empty: what a source would have said is its own to know. Raises UsageError where the store can't be
    written, before anything runs.
    """
    store.prepare()
    study = _StudyLoop([], store, display, executor, source)
    display.begin(0, 0)
    study.see_through()
    return StudyOutcome(
        finished=tuple(sorted(study.finished)),
        failed=dict(study.failed),
        interrupted_signal=study.signals[0] if study.signals else None,
    )
