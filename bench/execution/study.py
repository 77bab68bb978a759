"""A study: the requested runs that the store lacks are carried out, and the outcome of each is returned.

`run_study` carries out a list of specs, `run_job_source` jobs that are known only as results come in. What happens to
a run on the way stands in `bench.execution.study_loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from bench.execution.display import Display
from bench.execution.executor import Executor, Job, JobSource
from bench.execution.local import LocalExecutor
from bench.execution.study_loop import StudyLoop
from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.system.errors import UsageError

When = Literal["missing", "always", "never", "failed"]
"""missing: what has no record, failures included. always: everything again. never: nothing. failed: failures only."""


@dataclass(frozen=True)
class StudyOutcome:
    """The outcome of every requested run, each run id once, in the order of the study.

    `finished`: the record was stored during this study (also by another process); `skipped`: before it; `failed`: run
    id -> reason; `left`: no record, since the run wasn't tried or the study ended first. `interrupted_signal`: the
    signal that ended the study.
    """

    finished: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    interrupted_signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0: every run has a record; 1: some run has none; 128 + signal: a signal ended the study."""
        if self.interrupted_signal is not None:
            return 128 + self.interrupted_signal
        return 1 if self.failed or self.left else 0


def split_by_stored(specs: Iterable[RunSpec], store: Store, when: When = "missing") -> tuple[list[RunSpec], list[str]]:
    """(specs to run now, ids of runs that have a record already); equal ids once, replicate by replicate.

    All methods come with the first replicate before any with the second, so that an early board compares them all.
    Runs that failed before come last: what fails again then ends no study before the other runs had their turn. Records
    aren't opened; the store's folder is listed once for either.
    """
    if when not in get_args(When):
        raise UsageError(f"--when {when} is none of {', '.join(get_args(When))}.")
    by_id = {spec.run_id: spec for spec in specs}
    ordered = sorted(by_id.items(), key=lambda item: (item[1].seed, item[1].noise_seed, item[1].split_seed))
    stored = store.finished(by_id)
    if when == "always":
        return [spec for _, spec in ordered], []
    skipped = [run_id for run_id, _ in ordered if run_id in stored]
    if when == "never":
        return [], skipped
    failed = store.failed(by_id)
    missing = [(run_id in failed, spec) for run_id, spec in ordered if run_id not in stored]
    if when == "failed":
        return [spec for has_failed, spec in missing if has_failed], skipped
    return [spec for _, spec in sorted(missing, key=lambda item: item[0])], skipped


def run_study(
    specs: Iterable[RunSpec],
    runtime: Runtime | Callable[[RunSpec], Runtime],
    store: Store,
    jobs: int = 1,
    when: When = "missing",
    display: Display | None = None,
    executor: Executor | Callable[[int], Executor] | None = None,
) -> StudyOutcome:
    """Carry out the missing runs of `specs` in at most `jobs` processes; returns the outcome of each.

    `runtime` is one for all, or a function of the spec. `executor` is one, or a function that makes one for so many
    runs and is called only if there are any; by default, local processes. The first SIGINT or SIGTERM lets running jobs
    checkpoint and ends the study within SECONDS_TO_STOP; a second one ends it at once: call this in the main thread for
    that. Raises UsageError where the store can't be written, before anything runs.
    """
    specs = list(specs)
    display = Display() if display is None else display
    # Reading the records to be skipped sets a corrupt one aside, so that its run is missing again. Hence the second
    # `split_by_stored` below.
    if when != "always":
        for run_id in split_by_stored(specs, store, when)[1]:
            if store.read(run_id) is not None and when != "never":
                store.tidy(run_id)
    todo, skipped = split_by_stored(specs, store, when)
    order = list(dict.fromkeys(spec.run_id for spec in [*todo, *specs]))
    if not todo:
        stored = set(skipped)
        return StudyOutcome(skipped=tuple(skipped), left=tuple(run_id for run_id in order if run_id not in stored))
    if callable(executor):  # before anything is written, since it may raise UsageError
        executor = executor(len(todo))
    store.prepare()
    runtime_of = (lambda spec: runtime) if isinstance(runtime, Runtime) else runtime
    queue = [Job(spec, runtime_of(spec), redo=when == "always") for spec in todo]
    if executor is None:
        executor = LocalExecutor(store.root, min(jobs, len(queue)), queue[0].runtime.threads, lease=store.lease)
    study = StudyLoop(queue, store, display, executor)
    display.begin(len(queue) + len(skipped), len(skipped))
    study.run_until_done()
    finished, failed = study.finished, study.failed
    ended = {*finished, *failed, *skipped}
    return StudyOutcome(
        finished=tuple(run_id for run_id in order if run_id in finished),
        failed={run_id: failed[run_id] for run_id in order if run_id in failed},
        skipped=tuple(skipped),
        left=tuple(run_id for run_id in order if run_id not in ended),
        interrupted_signal=study.signals[0] if study.signals else None,
    )


def run_job_source(source: JobSource, store: Store, display: Display, executor: Executor) -> StudyOutcome:
    """Carry out the jobs of `source` until it has no more; returns the outcome, with `left` empty.

    Raises UsageError where the store can't be written, before anything runs.
    """
    store.prepare()
    study = StudyLoop([], store, display, executor, source)
    display.begin(0, 0)
    study.run_until_done()
    return StudyOutcome(
        finished=tuple(sorted(study.finished)),
        failed=dict(study.failed),
        interrupted_signal=study.signals[0] if study.signals else None,
    )
