"""One study in this process, from its first trial to its choice.

In the first stage trials run on the search seeds; in the second the best of them run again on fresh seeds, and one is
chosen. Read first `StudyStages.wanted_runs`, which goes on as far as results allow and returns the runs to train next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.records.store import Store
from bench.spec import RunSpec
from bench.stats import holdout_choice
from bench.stats.holdout_choice import HoldoutChoice, HoldoutScore, score_splits
from bench.tuning.study.definition import StudyDefinition
from bench.tuning.study.optuna_study import ENDED_ELSEWHERE, OptunaStudy, RunningTrial
from bench.tuning.study.pruning import rung_epoch
from bench.tuning.study.search_space import Values, apply_values, describe_values
from bench.tuning.study.trial_slots import TrialSlot

WantedRun = tuple[RunSpec, float]
"""A run, and the share of its epochs that it should be trained to."""
NO_ACCURACY = "a run has no accuracy on its hold-out"


@dataclass
class Finalist:
    """A setting that is run again on fresh seeds. `slot` is the trial that found it, 0 the default values'."""

    slot: int
    values: Values
    specs: tuple[RunSpec, ...]
    search_score: HoldoutScore
    fresh_score: HoldoutScore | None = None
    failure: str | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class StudyResult:
    """The result of a study. `decision` numbers the finalists; None where all of them failed, or there are none."""

    definition: StudyDefinition
    finalists: tuple[Finalist, ...]
    decision: HoldoutChoice | None
    states: dict[str, int]
    """How many slots are "complete", "pruned" and "fail"."""
    runs: int
    """Training runs of the study, including those of pruned trials and on fresh seeds."""


class TrialScores:
    """The criteria of runs in a store, from records and from the curves of paused runs, each read from disk once."""

    def __init__(self, store: Store, objective: holdout_choice.Objective) -> None:
        self.store, self.curve = store, holdout_choice.CURVES[objective]
        self._read_before: dict[tuple[str, float], tuple[int, float | None]] = {}

    def after(self, run_id: str, share: float) -> tuple[int, float | None] | None:
        """(epoch, criterion) of a run after a share of its epochs; None where it hasn't trained so far.

        The criterion is the mean over the last epochs up to there, as many as `count_last_epochs` says for the whole
        run; None where the run has no such accuracy.
        """
        key = (run_id, share)
        if key not in self._read_before and (result := self._read(run_id, share)) is not None:
            self._read_before[key] = result
        return self._read_before.get(key)

    def _read(self, run_id: str, share: float) -> tuple[int, float | None] | None:
        document = self.store.read(run_id)
        if document is not None:
            total = len(document["curves"]["epoch"])
        elif share < 1 and (document := self.store.read_partial(run_id)) is not None:
            total = document["total_epochs"]
        else:
            return None
        epoch = rung_epoch(share, total)
        if len(document["curves"]["epoch"]) < epoch:
            return None
        curve = document["curves"].get(self.curve) or []
        return epoch, holdout_choice.curve_criterion(curve[:epoch], holdout_choice.count_last_epochs(total))


@dataclass
class StudyStages:
    """The trials and finalists of one study in this process. `finalists_wanted` don't count the default values."""

    study: OptunaStudy
    scores: TrialScores
    finalists_wanted: int
    note: Callable[[str], None]
    trial_ended: Callable[[str, str, float], None]
    """Called as trial_ended(key, text for people, seconds) for every trial and finalist that ends in this process."""
    trials: list[RunningTrial] = field(default_factory=list)
    finalists: list[Finalist] = field(default_factory=list)
    result: StudyResult | None = None

    @property
    def definition(self) -> StudyDefinition:
        return self.study.definition

    def wanted_runs(self, width: int) -> list[WantedRun]:
        """The runs that the study waits for, with at most `width` trials at a time; first goes on with what ended."""
        if self.result is not None:
            return []
        wanted = [run for running in list(self.trials) for run in self._advance_trial(running)]
        while len(self.trials) < width and not self.finalists:
            trial = self.study.ask()
            if trial is None:
                break
            self.trials.append(trial)
            wanted += self._advance_trial(trial)
        if not self.trials and not self.finalists and self.study.ended():
            self._choose_finalists()
        return wanted + self._advance_finalists()

    def fail_run(self, run_id: str, reason: str) -> None:
        """Fail the trials and finalists that a run belongs to, if any: it can't be finished."""
        for trial in list(self.trials):
            if any(spec.run_id == run_id for spec in trial.specs):
                self._fail_trial(trial, reason)
        for finalist in self.finalists:
            if finalist.failure is None and any(spec.run_id == run_id for spec in finalist.specs):
                finalist.failure = reason
                self._report_finalist(finalist)

    def release(self) -> None:
        """Release this process's trials, so that other processes or the next start go on with them."""
        for trial in self.trials:
            self.study.release(trial)
        self.trials.clear()
        self.study.close()

    def _score(self, specs: Sequence[RunSpec], share: float) -> tuple[list[WantedRun], int, HoldoutScore | None]:
        """(runs that lack results at a share of their epochs, the epoch, the score) of one setting.

        The score is None where runs lack results, or one has no criterion.
        """
        results = [self.scores.after(spec.run_id, share) for spec in specs]
        missing = [(spec, share) for spec, result in zip(specs, results, strict=True) if result is None]
        epoch = max((result[0] for result in results if result is not None), default=0)
        criteria = [result[1] for result in results if result is not None and result[1] is not None]
        score = score_splits(criteria, self.definition.labels) if len(criteria) == len(results) else None
        return missing, epoch, score

    def _advance_trial(self, trial: RunningTrial) -> list[WantedRun]:
        """Take a trial past the rungs that its runs have reached; returns the runs that it waits for, if it goes on."""
        while True:
            share = trial.rungs[trial.passed]
            missing, epoch, score = self._score(trial.specs, share)
            if missing:
                return missing
            if score is None:
                self._fail_trial(trial, NO_ACCURACY)
                return []
            try:
                if share == 1.0:
                    self.study.complete(trial, epoch, score)
                    text = _percent(score)
                elif self.study.prune(trial, epoch, score):
                    text = f"{_percent(score)} after {epoch} epochs, pruned"
                else:
                    continue
            except ENDED_ELSEWHERE:
                self._lose_trial(trial)
                return []
            self.trials.remove(trial)
            self._report_trial(trial, text)
            return []

    def _fail_trial(self, trial: RunningTrial, reason: str) -> None:
        try:
            retried = self.study.fail(trial, reason)
        except ENDED_ELSEWHERE:
            self._lose_trial(trial)
            return
        self.trials.remove(trial)
        self._report_trial(trial, f"failed, {reason}{'; tried again' if retried else ''}", ended=not retried)

    def _lose_trial(self, trial: RunningTrial) -> None:
        self.study.forget(trial)
        self.trials.remove(trial)
        self.note(f"{self.definition.name}: another process took over a trial, since this one stood still for too long")

    def _report_trial(self, trial: RunningTrial, outcome: str, ended: bool = True) -> None:
        name, slot = self.definition.name, trial.slot
        text = f"{name} trial {slot + 1}/{self.study.budget} ({describe_values(trial.values)}): {outcome}"
        if ended:
            self.trial_ended(f"{name} {slot}", text, time.monotonic() - trial.began)
        else:
            self.note(text)

    def _choose_finalists(self) -> None:
        """Choose the default values and the best completed settings, equal ones once."""
        completed = self.study.completed_slots()
        if not completed:
            self._conclude(None)
            return
        completed.sort(key=lambda slot: (-(slot.trial.value or 0.0), slot.number))
        settings: dict[str, TrialSlot] = {}
        for slot in completed:
            settings.setdefault(apply_values(self.definition.base, self.study.values_of(slot)).run_id, slot)
        ranked = list(settings.values())
        best = [slot for slot in ranked[: self.finalists_wanted] if slot.number]
        for slot in [slot for slot in ranked if slot.number == 0] + best:
            values = self.study.values_of(slot)
            # Records may have been removed since the search; the study itself still has the mean.
            score = self._score(self.definition.search_runs(values), 1.0)[2]
            search_score = score or score_splits([slot.trial.value or 0.0], self.definition.labels)
            runs = self.definition.runs_on(self.definition.final_seeds, values)
            self.finalists.append(Finalist(slot.number, values, runs, search_score))

    def _advance_finalists(self) -> list[WantedRun]:
        """Score the finalists whose runs have ended, and choose once all have; returns the runs that are missing."""
        wanted: list[WantedRun] = []
        for finalist in self.finalists:
            if finalist.failure is not None or finalist.fresh_score is not None:
                continue
            missing, _, finalist.fresh_score = self._score(finalist.specs, 1.0)
            wanted += missing
            if not missing:
                finalist.failure = NO_ACCURACY if finalist.fresh_score is None else None
                self._report_finalist(finalist)
        if self.finalists and all(finalist.failure or finalist.fresh_score for finalist in self.finalists):
            # There is none of the default values where slot 0 failed in the search.
            defaults = next((number for number, finalist in enumerate(self.finalists) if finalist.slot == 0), None)
            self._conclude(
                holdout_choice.choose_among_known([finalist.fresh_score for finalist in self.finalists], defaults)
            )
        return wanted

    def _report_finalist(self, finalist: Finalist) -> None:
        score = finalist.fresh_score
        outcome = f"failed, {finalist.failure}" if finalist.failure or score is None else _percent(score)
        text = f"{self.definition.name} on fresh seeds ({describe_values(finalist.values)}): {outcome}"
        self.trial_ended(f"{self.definition.name} final {finalist.slot}", text, time.monotonic() - finalist.began)

    def _conclude(self, decision: HoldoutChoice | None) -> None:
        slots = self.study.slots().values()
        states = [slot.trial.state.name.lower() for slot in slots]
        counts = {state: states.count(state) for state in ("complete", "pruned", "fail")}
        settings = [self.definition.search_runs(self.study.values_of(slot)) for slot in slots]
        settings += [finalist.specs for finalist in self.finalists]
        runs = len({spec.run_id for specs in settings for spec in specs})
        self.result = StudyResult(self.definition, tuple(self.finalists), decision, counts, runs)


def _percent(score: HoldoutScore) -> str:
    """Percent, with the standard error."""
    return f"{100 * score.mean:.2f} ± {100 * score.error:.2f}"
