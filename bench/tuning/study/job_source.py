"""Several cases at once: gives a study its jobs as results come in, and hands results to the cases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from bench.execution.events import RunFailed, RunFinished, RunPaused
from bench.execution.executor import Job
from bench.execution.progress import Display
from bench.spec import RunSpec, Runtime
from bench.tuning.study.stages import StudyStages

SECONDS_BETWEEN_LOOKS = 1.0
"""How often other processes' trials are looked after while nothing ends here."""


class TuningJobs:
    """A `bench.execution.study_loop.JobSource` over cases. `workers`: how many runs there is room for at once.

    A case has as many trials under way as it takes to keep the workers busy, one where that is enough: what is
    suggested then depends on nothing but the trials before it.
    """

    def __init__(
        self,
        cases: Sequence[StudyStages],
        workers: int,
        runtime: Callable[[RunSpec], Runtime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cases = cases
        self.runtime = runtime
        runs = sum(len(each.case.search_seeds) for each in cases)
        self.width = -(-workers // max(1, runs))
        self._clock = clock
        self._under_way: set[str] = set()
        self._changed, self._looked = True, 0.0

    @property
    def open(self) -> bool:
        """Whether a case has no outcome yet."""
        return any(each.tuned is None for each in self.cases)

    def further(self) -> Iterable[Job]:
        """The runs that cases wait for and that aren't under way."""
        now = self._clock()
        if not self._changed and now - self._looked < SECONDS_BETWEEN_LOOKS:
            return []
        self._changed, self._looked = False, now
        jobs = []
        for case in self.cases:
            for spec, share in case.wanted(self.width):
                if spec.run_id not in self._under_way:
                    self._under_way.add(spec.run_id)
                    pause_at = None if share == 1.0 else share
                    jobs.append(Job(spec, self.runtime(spec).model_copy(update={"pause_at": pause_at})))
        return jobs

    def ended(self, run_id: str, event: RunFinished | RunPaused | RunFailed) -> None:
        """Tell the cases."""
        self._changed = True
        self._under_way.discard(run_id)
        if isinstance(event, RunFailed):
            for case in self.cases:
                case.run_failed(run_id, event.reason)

    def leave(self) -> None:
        """Give back what isn't done."""
        for case in self.cases:
            case.leave()


class TrialsDisplay(Display):
    """Counts trials and finalists instead of runs on another display; runs under way are shown while they last."""

    def __init__(self, inner: Display, total: int, done: int) -> None:
        self.inner = inner
        self._total, self._done = total, done

    def begin(self, total: int, done: int) -> None:
        """Begin with the number of trials, not of runs."""
        self.inner.begin(self._total, self._done)

    def trial_ended(self, key: str, text: str, seconds: float) -> None:
        """A line for a trial."""
        self.inner.finished(key, text, seconds)

    def started(self, run_id: str, name: str) -> None:
        """A run's row."""
        self.inner.started(run_id, name)

    def finished(self, run_id: str, name: str, seconds: float | None) -> None:
        """The run's row goes."""
        self.inner.gone(run_id)

    def failed(self, run_id: str, name: str, reason: str) -> None:
        """The run's row goes; its trial says the reason."""
        self.inner.gone(run_id)

    def gone(self, run_id: str) -> None:
        """The run's row goes."""
        self.inner.gone(run_id)

    def note(self, text: str) -> None:
        """A line."""
        self.inner.note(text)

    def end(self) -> None:
        """Nothing more will come."""
        self.inner.end()
