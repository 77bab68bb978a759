"""The studies of one command, run together: their jobs as results come in, and their display.

Read first `run_studies`; `open_studies` comes before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from bench.execution.display import Display
from bench.execution.events import RunFailed, RunFinished, RunPaused
from bench.execution.executor import Executor, Job, JobSource
from bench.execution.progress import open_display
from bench.execution.study import StudyOutcome, run_job_source
from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.tuning.request import TuneRequest
from bench.tuning.study.definition import StudyDefinition
from bench.tuning.study.optuna_study import OptunaStudy, refuse_other_definition
from bench.tuning.study.stages import StudyResult, StudyStages, TrialScores
from bench.tuning.study.storage import describe_storage, open_storage

RuntimeOf = Callable[[RunSpec], Runtime]
SECONDS_BETWEEN_LOOKS = 1.0
"""How often the studies look for other processes' trials while no run ends in this process."""


def open_studies(definitions: Sequence[StudyDefinition], tuning: TuneRequest, store: Store) -> list[OptunaStudy]:
    """The studies in their storage, created where they are missing.

    Raises UsageError where the storage can't be used, or has one of them with another definition.
    """
    name = describe_storage(tuning.storage, store.root)
    storage = open_storage(tuning.storage, store.root, store.lease)
    for definition in definitions:  # all of them first: a refused command creates no study
        refuse_other_definition(definition, storage, name)
    return [
        OptunaStudy(definition, storage, name, store.root, tuning.trials, store.lease) for definition in definitions
    ]


def run_studies(
    studies: Sequence[OptunaStudy], tuning: TuneRequest, store: Store, runtime: RuntimeOf, jobs: int, executor: Executor
) -> tuple[StudyOutcome, list[tuple[StudyResult, OptunaStudy]]]:
    """Run studies, `jobs` runs at a time, until each has a result, or a signal or a full disk ends the command.

    Returns the outcome, and the studies that have a result, each after it.
    """
    total = len(studies) * (tuning.trials + tuning.finalists + 1)
    ended = sum(slot.ended for study in studies for slot in study.slots().values())
    trials = TrialsDisplay(open_display(), total, ended)
    scores = TrialScores(store, tuning.objective)
    stages = [StudyStages(study, scores, tuning.finalists, trials.note, trials.trial_ended) for study in studies]
    source = TuningJobs(stages, jobs, runtime)
    try:
        outcome = run_job_source(source, store, trials, executor)
    finally:
        source.release()
    return outcome, [(study.result, study.study) for study in stages if study.result is not None]


class TuningJobs(JobSource):
    """The runs of studies, as they are suggested. `workers` is the number of runs at a time.

    A study has as many trials at a time as it takes to keep the workers busy. Where one trial is enough, a suggestion
    depends on nothing but the trials before it.
    """

    def __init__(self, studies: Sequence[StudyStages], workers: int, runtime: RuntimeOf) -> None:
        self.studies, self.runtime = studies, runtime
        runs = sum(len(study.definition.search_seeds) for study in studies)
        self.width = -(-workers // max(1, runs))
        self._submitted: set[str] = set()
        self._changed, self._looked = True, 0.0

    @property
    def open(self) -> bool:
        """Whether a study has no result yet."""
        return any(study.result is None for study in self.studies)

    def further(self) -> Iterable[Job]:
        """The runs that studies wait for and that haven't been submitted."""
        now = time.monotonic()
        if not self._changed and now - self._looked < SECONDS_BETWEEN_LOOKS:
            return []
        self._changed, self._looked = False, now
        jobs = []
        for study in self.studies:
            for spec, share in study.wanted_runs(self.width):
                if spec.run_id not in self._submitted:
                    self._submitted.add(spec.run_id)
                    pause_at = None if share == 1.0 else share
                    jobs.append(Job(spec, self.runtime(spec).model_copy(update={"pause_at": pause_at})))
        return jobs

    def ended(self, run_id: str, event: RunFinished | RunPaused | RunFailed) -> None:
        """Note that a run has ended, and fail the trials of a run that failed."""
        self._changed = True
        self._submitted.discard(run_id)
        if isinstance(event, RunFailed):
            for study in self.studies:
                study.fail_run(run_id, event.reason)

    def release(self) -> None:
        """Release the trials that haven't ended."""
        for study in self.studies:
            study.release()


class TrialsDisplay(Display):
    """Another display that counts trials and finalists in place of runs; runs have a row while they last."""

    def __init__(self, inner: Display, total: int, done: int) -> None:
        self.inner, self._total, self._done = inner, total, done
        inner.counts_runs = False

    def begin(self, total: int, done: int) -> None:
        """Begin with the number of trials, not of runs."""
        self.inner.begin(self._total, self._done)

    def trial_ended(self, key: str, text: str, seconds: float) -> None:
        self.inner.finished(key, text, seconds)

    def finished(self, run_id: str, name: str, seconds: float | None) -> None:
        """Remove the run's row, as does `failed`; the line of its trial states the reason."""
        self.inner.gone(run_id)

    def failed(self, run_id: str, name: str, reason: str) -> None:
        self.inner.gone(run_id)

    def started(self, run_id: str, name: str) -> None:
        self.inner.started(run_id, name)

    def epoch(self, run_id: str, done: int, total: int) -> None:
        self.inner.epoch(run_id, done, total)

    def gone(self, run_id: str) -> None:
        self.inner.gone(run_id)

    def tick(self) -> None:
        self.inner.tick()

    def note(self, text: str) -> None:
        self.inner.note(text)

    def end(self) -> None:
        self.inner.end()
