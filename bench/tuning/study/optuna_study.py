"""One study in an Optuna storage, with every trial claimed by the process that runs it.

Read first `OptunaStudy.ask`, which hands out the next trial; a trial ends by `complete`, `prune`, `fail` or `release`.
`recover` repeats the trials of processes that died. Several processes may hold the same study.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna import Trial, distributions
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, fail_stale_trials
from optuna.trial import TrialState

from bench.records import claims
from bench.spec import RunSpec, Value
from bench.stats.holdout_choice import HoldoutScore
from bench.system.code_version import git_revision
from bench.system.errors import UsageError
from bench.system.text import digest
from bench.tuning.study.definition import StudyDefinition, definition_differences, new_study_prefix
from bench.tuning.study.pruning import survives_rung, trial_rungs
from bench.tuning.study.sampler import SlotSampler
from bench.tuning.study.search_space import Dimension
from bench.tuning.study.storage import FOLDER
from bench.tuning.study.trial_recovery import OWNER, TrialHeartbeat, is_abandoned
from bench.tuning.study.trial_slots import ABANDONED, ENDED, FAILED, SLOT, VOID, TrialSlot, group_slots, trial_slot

DEFINITION, REVISION = "definition", "revision"
VALUES, ERROR = "values", "standard_error"
RUNG = "rung {:g}"
"""Attribute of a trial: its score at a share of its epochs."""
ENDED_ELSEWHERE = (UpdateFinishedTrialError, ValueError)
"""Raised by Optuna for a trial that another process has failed meanwhile; the second by `tell`."""


@dataclass
class RunningTrial:
    """A trial of this process: its slot, the values that it tries, its runs, and how far it has come."""

    trial: Trial
    slot: int
    values: dict[str, Value]
    specs: tuple[RunSpec, ...]
    rungs: tuple[float, ...]
    """Shares of the epochs; the last one is 1.0, the end."""
    claim: ExitStack = field(repr=False)
    passed: int = 0
    """How many rungs it has passed."""
    began: float = field(default_factory=time.monotonic)


class OptunaStudy:
    """A study that may go on in several processes. `folder` is the output folder, where trials are claimed.

    `storage_name` names the storage in messages and distinguishes the claims of two storages; `budget` is the number
    of slots. Raises UsageError where the storage has a study of this name with another definition.
    """

    def __init__(
        self,
        definition: StudyDefinition,
        storage: BaseStorage,
        storage_name: str,
        folder: Path,
        budget: int,
        lease: float,
    ) -> None:
        self.definition, self.storage, self.budget, self.lease = definition, storage, budget, lease
        self._storage_name = storage_name
        self._claims = folder / FOLDER / "claims" / digest(f"{storage_name} {definition.name}")
        dimensions = definition.space.dimensions
        self._distributions = {dimension.name: optuna_distribution(dimension) for dimension in dimensions}
        self.study = optuna.create_study(
            study_name=definition.name,
            storage=storage,
            direction="maximize",
            sampler=SlotSampler(definition.study_seed, definition.space.nearest(definition.default_values)),
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        if DEFINITION not in self.study.user_attrs:
            self.study.set_user_attr(REVISION, git_revision()[0])
            self.study.set_user_attr(DEFINITION, definition.as_stored())
        # Checked after writing: of two processes that create the study at once with two definitions, one must fail.
        refuse_other_definition(definition, storage, storage_name)
        self.begun_by: str | None = self.study.user_attrs.get(REVISION)
        """The revision of the code that began the study; None where it isn't known."""
        self._live: dict[int, int] = {}
        self._heartbeat = TrialHeartbeat(storage, self._live) if isinstance(storage, RDBStorage) else None

    def slots(self) -> dict[int, TrialSlot]:
        """The slots of the budget that have a trial, by number."""
        slots = group_slots(self.study.get_trials(deepcopy=False))
        return {number: slot for number, slot in slots.items() if number < self.budget}

    def ended(self) -> bool:
        """Whether every slot of the budget has ended, in any process."""
        slots = self.slots()
        return len(slots) >= self.budget and all(slot.ended for slot in slots.values())

    def values_of(self, slot: TrialSlot) -> dict[str, Value]:
        """The values that a slot tried; in slot 0 the default values, even where they lie outside the space."""
        definition = self.definition
        missing = [name for name in self._distributions if slot.number and name not in slot.trial.params]
        if missing:
            raise UsageError(
                f"{self._storage_name} is damaged: trial {slot.trial.number} of {definition.name} has no value of "
                f"{', '.join(missing)}. Move it aside: what was trained stays in the output folder"
            )
        return dict(definition.default_values) if slot.number == 0 else definition.space.rounded(slot.trial.params)

    def completed_slots(self) -> list[TrialSlot]:
        """The slots that were neither pruned nor failed, by number."""
        return [slot for slot in self.slots().values() if slot.trial.state == TrialState.COMPLETE]

    def ask(self) -> RunningTrial | None:
        """The next trial, claimed; None where the budget is used up, or other processes run what remains."""
        self.recover()
        while True:
            waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if not waiting and len(self.slots()) >= self.budget:
                return None
            trial = self.study.ask(fixed_distributions=self._distributions)
            trials = self.study.get_trials(deepcopy=False)
            slot = trial_slot(trial.number, trials)
            if slot < self.budget and _is_first(trial.number, group_slots(trials)[slot]):
                claim = claims.take_claim(self._claim_path(trial.number), self.lease)
                if claim is not None:
                    return self._start(trial, slot, claim)
            # Another process asked at the same time: this trial is surplus. The loop asks again while the budget lasts.
            trial.set_user_attr(VOID, True)
            self.study.tell(trial, state=TrialState.FAIL)
            if slot >= self.budget:
                return None

    def _start(self, trial: Trial, slot: int, claim: claims.Claim) -> RunningTrial:
        claim_context = ExitStack()
        claim_context.enter_context(claim)
        self._live[trial.number] = trial._trial_id
        if self._heartbeat is not None:
            # At once, not an interval later: a trial without any heartbeat is never stale, should this process die.
            self._heartbeat.record()
        values = dict(self.definition.default_values) if slot == 0 else self.definition.space.rounded(trial.params)
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(OWNER, f"{claims.host_identity()}/{os.getpid()}")
        rungs = (*trial_rungs(slot, self.definition.base.epochs), 1.0)
        return RunningTrial(trial, slot, values, self.definition.search_runs(values), rungs, claim_context)

    def prune(self, running: RunningTrial, epoch: int, score: HoldoutScore) -> bool:
        """Report a trial's score at its next rung; True where the trial is pruned there, and has ended."""
        running.trial.report(score.mean, epoch)
        key = RUNG.format(running.rungs[running.passed])
        running.trial.set_user_attr(key, score.mean)
        others = [slot.trial.user_attrs for slot in self.slots().values() if slot.number != running.slot]
        if survives_rung(score.mean, [attributes[key] for attributes in others if key in attributes]):
            running.passed += 1
            return False
        self._end(running, TrialState.PRUNED)
        return True

    def complete(self, running: RunningTrial, epoch: int, score: HoldoutScore) -> None:
        """Report a trial's final score."""
        running.trial.report(score.mean, epoch)
        running.trial.set_user_attr(ERROR, score.error)
        self._end(running, TrialState.COMPLETE, score.mean)

    def fail(self, running: RunningTrial, reason: str) -> bool:
        """Report a trial as failed; returns whether its slot is tried again."""
        running.trial.set_user_attr(ENDED, FAILED)
        running.trial.set_user_attr("reason", reason)
        self._end(running, TrialState.FAIL)
        self._enqueue_retries()
        return not self.slots()[running.slot].ended

    def release(self, running: RunningTrial) -> None:
        """End a trial because this process ends: another attempt goes on where it was."""
        try:
            running.trial.set_user_attr(ENDED, "interrupted")
            self._end(running, TrialState.FAIL)
        except ENDED_ELSEWHERE:
            self.forget(running)
        self._enqueue_retries()

    def forget(self, running: RunningTrial) -> None:
        """Give up a trial's claim and heartbeats; the storage isn't changed."""
        self._live.pop(running.trial.number, None)
        running.claim.close()

    def _end(self, running: RunningTrial, state: TrialState, value: float | None = None) -> None:
        # The claim is given up last: a running trial whose claim is gone counts as abandoned.
        self.study.tell(running.trial, value, state=state)
        self.forget(running)

    def recover(self) -> None:
        """Fail the trials of processes that died, and enqueue the slots that may be tried again."""
        if self._heartbeat is not None:
            fail_stale_trials(self.study)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            claim, heartbeats = self._claim_path(trial.number), self._heartbeat is not None
            if trial.number not in self._live and is_abandoned(trial, claim, self.lease, heartbeats):
                # Another process may find the same trial at the same moment: the first one fails it.
                with suppress(*ENDED_ELSEWHERE):
                    self.storage.set_trial_user_attr(trial._trial_id, ENDED, ABANDONED)
                    self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        self._enqueue_retries()

    def _enqueue_retries(self) -> None:
        for slot in self.slots().values():
            if slot.needs_retry:
                self.study.enqueue_trial(dict(slot.trial.params), user_attrs={SLOT: slot.number})

    def _claim_path(self, number: int) -> Path:
        return self._claims / f"trial-{number}" / "claim.json"

    def close(self) -> None:
        """Stop the heartbeats."""
        if self._heartbeat is not None:
            self._heartbeat.stop()


def _is_first(number: int, slot: TrialSlot) -> bool:
    """Whether all older attempts at a slot failed. Of two that processes asked for at once, the older one counts."""
    return all(trial.state == TrialState.FAIL for trial in slot.attempts if trial.number < number)


def refuse_other_definition(definition: StudyDefinition, storage: BaseStorage, storage_name: str) -> None:
    """Raise UsageError where the storage has a study of the same name with another definition."""
    try:
        attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(definition.name))
    except KeyError:
        return
    wanted = definition.as_stored()
    if differences := definition_differences(attributes.get(DEFINITION, wanted), wanted):
        more = f"; and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise UsageError(
            f"the study {definition.name} in {storage_name} was made for something else: {'; '.join(differences[:4])}"
            f"{more}. Its trials can't be compared with new ones: type --study-name "
            f"{new_study_prefix(definition.name)} for a new study, or the old options"
        )


def optuna_distribution(dimension: Dimension) -> distributions.BaseDistribution:
    """Optuna's distribution for a dimension."""
    if dimension.kind == "choice":
        return distributions.CategoricalDistribution(dimension.choices)
    if dimension.kind == "integer":
        return distributions.IntDistribution(int(dimension.low), int(dimension.high))
    return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log-uniform")
