"""A case from its first trial to its choice: trials on search seeds, then the best of them again on fresh ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from optuna.trial import TrialState

from bench.spec import RunSpec
from bench.stats.holdout_choice import HoldoutChoice, HoldoutScore, choose_among_known, score_splits
from bench.tuning.study.definition import StudyCase
from bench.tuning.study.optuna_study import TAKEN, OptunaStudy, RunningTrial
from bench.tuning.study.search_space import Values, apply_values
from bench.tuning.study.search_strategy import trial_rungs
from bench.tuning.study.trial_scores import TrialScores
from bench.tuning.study.trial_slots import TrialSlot

WantedRun = tuple[RunSpec, float]
"""A run, and the share of its epochs that it is wanted to come to."""
Note = Callable[[str], None]


@dataclass
class Finalist:
    """A setting that is run again on fresh seeds. `slot` is where it was found, 0 the method's own."""

    slot: int
    values: Values
    specs: tuple[RunSpec, ...]
    found: HoldoutScore
    """What it had come to in the search."""
    score: HoldoutScore | None = None
    failed: str | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class StudyResult:
    """What a case came to. `decision` numbers finalists (None: all failed); slot 0's are the method's own values."""

    case: StudyCase
    finalists: tuple[Finalist, ...]
    decision: HoldoutChoice | None
    states: dict[str, int]
    runs: int
    """Training runs that the choice took, pruned ones and those on fresh seeds included."""


@dataclass
class _TrialInFlight:
    """A trial under way: its runs, and how far it has come."""

    asked: RunningTrial
    specs: tuple[RunSpec, ...]
    shares: tuple[float, ...] = (1.0,)
    passed: int = 0
    began: float = field(default_factory=time.monotonic)


@dataclass
class StudyStages:
    """One case under way in this process."""

    case: StudyCase
    search: OptunaStudy
    readings: TrialScores
    finalists_wanted: int
    note: Note
    trial_ended: Callable[[str, str, float], None]
    """Called as trial_ended(key, what a person reads, seconds) for every trial and finalist that ends here."""
    flights: list[_TrialInFlight] = field(default_factory=list)
    finalists: list[Finalist] = field(default_factory=list)
    tuned: StudyResult | None = None

    # What a source of jobs asks ----------------------------------------------------------------------------------

    def wanted(self, width: int) -> list[WantedRun]:
        """Go on as far as results allow, with at most `width` trials at once; returns the runs that it waits for."""
        if self.tuned is not None:
            return []
        waiting = self._advance_trials()
        while len(self.flights) < width and not self.finalists:
            asked = self.search.ask()
            if asked is None:
                break
            specs = self.case.search_runs(asked.values)
            self.flights.append(_TrialInFlight(asked, specs, (*trial_rungs(asked.slot, self.case.base.epochs), 1.0)))
            waiting += self._advance_trials(self.flights[-1:])
        if not self.flights and not self.finalists and self.search.over():
            self._choose_finalists()
        return waiting + self._advance_finalists()

    def run_failed(self, run_id: str, reason: str) -> None:
        """A run of this case, perhaps, can't be finished."""
        for flight in [each for each in self.flights if _has(each.specs, run_id)]:
            self._fail(flight, reason)
        for finalist in self.finalists:
            if finalist.failed is None and _has(finalist.specs, run_id):
                finalist.failed = reason
                self._say_final(finalist)

    def leave(self) -> None:
        """This process ends: others, or its next start, go on with its trials."""
        for flight in self.flights:
            self.search.give_back(flight.asked)
        self.flights.clear()
        self.search.close()

    # The search --------------------------------------------------------------------------------------------------

    def _advance_trials(self, flights: Sequence[_TrialInFlight] | None = None) -> list[WantedRun]:
        waiting: list[WantedRun] = []
        for flight in list(self.flights if flights is None else flights):
            waiting += self._advance(flight)
        return waiting

    def _advance(self, flight: _TrialInFlight) -> list[WantedRun]:
        """Take a trial as far as its runs have come; returns those that it waits for, none once it has ended."""
        while True:
            share = flight.shares[flight.passed]
            found = [self.readings.after(spec.run_id, share) for spec in flight.specs]
            missing = [(spec, share) for spec, each in zip(flight.specs, found, strict=True) if each is None]
            if missing:
                return missing
            came_to = _score(found, self.case)
            if came_to is None:
                self._fail(flight, "a run has no accuracy on its hold-out")
                return []
            try:
                said = self._tell(flight, share, max(each[0] for each in found if each is not None), came_to)
            except TAKEN:
                self._lose(flight)
                return []
            if said is not None:
                self.flights.remove(flight)
                self._say(flight, said)
                return []
            flight.passed += 1

    def _tell(self, flight: _TrialInFlight, share: float, epoch: int, came_to: HoldoutScore) -> str | None:
        """Tell the study what a trial has come to; returns how it ended, or None where it goes on."""
        if share == 1.0:
            self.search.complete(flight.asked, epoch, came_to)
            return _in_words(came_to)
        if self.search.prune(flight.asked, share, epoch, came_to):
            return f"{_in_words(came_to)} after {epoch} epochs, pruned"
        return None

    def _fail(self, flight: _TrialInFlight, reason: str) -> None:
        try:
            again = self.search.fail(flight.asked, reason)
        except TAKEN:
            self._lose(flight)
            return
        self.flights.remove(flight)
        self._say(flight, f"failed, {reason}{'; tried again' if again else ''}", over=not again)

    def _lose(self, flight: _TrialInFlight) -> None:
        self.search.drop(flight.asked)
        self.flights.remove(flight)
        self.note(f"{self.case.name}: another process took over a trial, since this one stood still for too long")

    def _say(self, flight: _TrialInFlight, what: str, over: bool = True) -> None:
        values = ", ".join(f"{name}={value}" for name, value in flight.asked.values.items())
        text = f"{self.case.name} trial {flight.asked.slot + 1}/{self.search.budget} ({values}): {what}"
        if over:
            self.trial_ended(f"{self.case.name} {flight.asked.slot}", text, time.monotonic() - flight.began)
        else:
            self.note(text)

    # The finals --------------------------------------------------------------------------------------------------

    def _choose_finalists(self) -> None:
        """The best completed settings, each once, and the method's own."""
        slots = self.search.slots()
        done = [slot for slot in slots.values() if slot.last.state == TrialState.COMPLETE]
        if not done:
            self.tuned = StudyResult(self.case, (), None, self._states(), self._runs())
            return
        done.sort(key=lambda slot: (-(slot.last.value or 0.0), slot.number))
        settings: dict[str, TrialSlot] = {}
        for slot in done:
            settings.setdefault(apply_values(self.case.base, self.search.values_of(slot)).run_id, slot)
        best = list(settings.values())[: self.finalists_wanted]
        own = [slot for slot in settings.values() if slot.number == 0]
        for slot in [*own, *(each for each in best if each.number)]:
            values = self.search.values_of(slot)
            runs = [self.readings.after(spec.run_id, 1.0) for spec in self.case.search_runs(values)]
            found = _score(runs, self.case) or score_splits([slot.last.value or 0.0], self.case.labels)
            self.finalists.append(Finalist(slot.number, values, self.case.final_runs(values), found))

    def _advance_finalists(self) -> list[WantedRun]:
        waiting: list[WantedRun] = []
        for finalist in self.finalists:
            if finalist.failed is not None or finalist.score is not None:
                continue
            found = [self.readings.after(spec.run_id, 1.0) for spec in finalist.specs]
            missing = [(spec, 1.0) for spec, each in zip(finalist.specs, found, strict=True) if each is None]
            waiting += missing
            if not missing:
                finalist.score = _score(found, self.case)
                if finalist.score is None:
                    finalist.failed = "a run has no accuracy on its hold-out"
                self._say_final(finalist)
        if self.finalists and not waiting and all(each.failed or each.score for each in self.finalists):
            self._decide()
        return waiting

    def _decide(self) -> None:
        own = next((number for number, each in enumerate(self.finalists) if each.slot == 0), None)
        # the own values may have failed in the search
        decision = choose_among_known([each.score for each in self.finalists], own)
        self.tuned = StudyResult(self.case, tuple(self.finalists), decision, self._states(), self._runs())

    def _say_final(self, finalist: Finalist) -> None:
        values = ", ".join(f"{name}={value}" for name, value in finalist.values.items())
        came_to = _in_words(finalist.score) if finalist.failed is None else f"failed, {finalist.failed}"
        text = f"{self.case.name} on fresh seeds ({values}): {came_to}"
        self.trial_ended(f"{self.case.name} final {finalist.slot}", text, time.monotonic() - finalist.began)

    def _states(self) -> dict[str, int]:
        """How many slots ended how."""
        found = [slot.last.state.name.lower() for slot in self.search.slots().values()]
        return {state: found.count(state) for state in ("complete", "pruned", "fail")}

    def _runs(self) -> int:
        """Training runs that the case took, each once."""
        tried = [self.case.search_runs(self.search.values_of(slot)) for slot in self.search.slots().values()]
        return len({spec.run_id for specs in [*tried, *(each.specs for each in self.finalists)] for spec in specs})


def _has(specs: Iterable[RunSpec], run_id: str) -> bool:
    return any(spec.run_id == run_id for spec in specs)


def _score(found: Sequence[tuple[int, float | None] | None], case: StudyCase) -> HoldoutScore | None:
    """The score of a setting's runs; None where one of them has no criterion."""
    values = [None if each is None else each[1] for each in found]
    known = [value for value in values if value is not None]
    return score_splits(known, case.labels) if len(known) == len(values) else None


def _in_words(came_to: HoldoutScore | None) -> str:
    """Percent, with the standard error."""
    return "nothing" if came_to is None else f"{100 * came_to.mean:.2f} ± {100 * came_to.error:.2f}"
