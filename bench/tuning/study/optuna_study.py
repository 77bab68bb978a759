"""One Optuna study: attached or made, asked and told, with every trial claimed by the process that runs it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, fail_stale_trials
from optuna.trial import TrialState

from bench.records import claims
from bench.spec import Value
from bench.stats.holdout_choice import HoldoutScore
from bench.system.code_version import git_revision
from bench.system.errors import UsageError
from bench.system.text import digest
from bench.tuning.study.definition import StudyCase
from bench.tuning.study.search_space import Dimension
from bench.tuning.study.search_strategy import SlotSampler, survives_rung
from bench.tuning.study.storage import FOLDER
from bench.tuning.study.trial_recovery import _fresh, _Heartbeat
from bench.tuning.study.trial_slots import ABANDONED, ENDED, FAILED, SLOT, VOID, TrialSlot, group_slots, trial_slot

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


DEFINITION, REVISION = "definition", "revision"
VALUES, ERROR, OWNER = "values", "standard_error", "owner"
TAKEN = (UpdateFinishedTrialError, ValueError)
"""What Optuna raises of a trial that another process told as failed; the second one from `tell`."""
RUNG = "rung {:g}"
"""Attribute of a trial: what it had come to at a share of its epochs."""


@dataclass
class RunningTrial:
    """A trial of this process: what it tries, and where it may be pruned."""

    trial: Trial
    slot: int
    values: dict[str, Value]
    held: ExitStack = field(repr=False)
    """Its claim."""

    @property
    def number(self) -> int:
        """Optuna's number."""
        return self.trial.number


class OptunaStudy:
    """The study of one case in a storage. `folder` is the output folder, where trials are claimed."""

    def __init__(
        self, case: StudyCase, storage: BaseStorage, where: str, folder: Path, budget: int, lease: float
    ) -> None:
        self.case, self.storage, self.budget, self.lease = case, storage, budget, lease
        self._claims = folder / FOLDER / "claims" / digest(f"{where} {case.name}")
        self._distributions = {each.name: optuna_distribution(each) for each in case.space.dimensions}
        sampler = SlotSampler(case.study_seed, case.space.nearest(case.own))
        self.study = optuna.create_study(
            study_name=case.name,
            storage=storage,
            direction="maximize",
            sampler=sampler,
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        self.begun_by = self._define(where)
        self._live: dict[int, int] = {}
        self._beat = _Heartbeat(storage, self._live) if isinstance(storage, RDBStorage) else None

    # Looking -----------------------------------------------------------------------------------------------------

    def slots(self) -> dict[int, TrialSlot]:
        """The slots of the budget that trials were asked for, by number."""
        found = group_slots(self.study.get_trials(deepcopy=False))
        return {number: slot for number, slot in found.items() if number < self.budget}

    def over(self) -> bool:
        """Whether every slot of the budget has come to its end, in whichever process."""
        found = self.slots()
        return len(found) >= self.budget and all(slot.over for slot in found.values())

    def values_of(self, slot: TrialSlot) -> dict[str, Value]:
        """What a slot tried; the first one the method's own values, even where they lie outside the space."""
        if slot.number == 0:
            return dict(self.case.own)
        return self.case.space.rounded({name: slot.last.params[name] for name in self._distributions})

    def completed(self) -> dict[int, dict[str, Value]]:
        """The values of the slots that weren't pruned and didn't fail, by number."""
        return {
            slot.number: self.values_of(slot)
            for slot in self.slots().values()
            if slot.last.state == TrialState.COMPLETE
        }

    # Asking and telling ------------------------------------------------------------------------------------------

    def ask(self) -> RunningTrial | None:
        """The next trial, claimed; None where the budget is used up, or the rest is with other processes."""
        self.recover()
        while True:
            waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if not waiting and len(self.slots()) >= self.budget:
                return None
            trial = self.study.ask(fixed_distributions=self._distributions)
            found = self.study.get_trials(deepcopy=False)
            slot = trial_slot(trial.number, found)
            if slot < self.budget and self._is_first(trial.number, group_slots(found)[slot]):
                claim = claims.take_claim(self._claim_path(trial.number), self.lease)
                if claim is not None:
                    return self._begin(trial, slot, claim)
            trial.set_user_attr(VOID, True)
            self.study.tell(trial, state=TrialState.FAIL)
            if slot >= self.budget:
                return None

    def _begin(self, trial: Trial, slot: int, claim: claims.Claim) -> RunningTrial:
        held = ExitStack()
        held.enter_context(claim)
        self._live[trial.number] = trial._trial_id
        if self._beat is not None:
            self._beat.now()
        values = dict(self.case.own) if slot == 0 else self.case.space.rounded(trial.params)
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(OWNER, f"{claims.host_identity()}/{os.getpid()}")
        return RunningTrial(trial, slot, values, held)

    def _is_first(self, number: int, slot: TrialSlot) -> bool:
        """Whether no older attempt at the slot stands; of two that processes asked for at once, the older one does."""
        return all(trial.state == TrialState.FAIL for trial in slot.attempts if trial.number < number)

    def prune(self, asked: RunningTrial, share: float, epoch: int, score: HoldoutScore) -> bool:
        """Report a trial's score at a rung; tells the study and returns True where it goes no further."""
        asked.trial.report(score.mean, epoch)
        key = RUNG.format(share)
        asked.trial.set_user_attr(key, score.mean)
        others = [
            slot.last.user_attrs[key]
            for slot in self.slots().values()
            if slot.number != asked.slot and key in slot.last.user_attrs
        ]
        if survives_rung(score.mean, others):
            return False
        self._tell(asked, TrialState.PRUNED)
        return True

    def complete(self, asked: RunningTrial, epoch: int, score: HoldoutScore) -> None:
        """Tell a trial's result."""
        asked.trial.report(score.mean, epoch)
        asked.trial.set_user_attr(ERROR, score.error)
        self._tell(asked, TrialState.COMPLETE, score.mean)

    def fail(self, asked: RunningTrial, reason: str) -> bool:
        """Tell a trial as failed; whether its slot is tried again."""
        asked.trial.set_user_attr(ENDED, FAILED)
        asked.trial.set_user_attr("reason", reason)
        self._tell(asked, TrialState.FAIL)
        self._try_again()
        return not self.slots()[asked.slot].over

    def give_back(self, asked: RunningTrial) -> None:
        """Leave a trial, since this process ends: another attempt goes on where it was."""
        try:
            asked.trial.set_user_attr(ENDED, "interrupted")
            self._tell(asked, TrialState.FAIL)
        except TAKEN:
            self.drop(asked)
        self._try_again()

    def drop(self, asked: RunningTrial) -> None:
        """Forget a trial that another process took over, since this one stood still for longer than the lease."""
        self._live.pop(asked.number, None)
        asked.held.close()

    def _tell(self, asked: RunningTrial, state: TrialState, value: float | None = None) -> None:
        self.study.tell(asked.trial, value, state=state)
        self.drop(asked)

    # Other processes -----------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Tell trials of dead processes as failed, and enqueue what may be tried again."""
        if self._beat is not None:
            fail_stale_trials(self.study)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in self._live and self._is_abandoned(trial):
                with suppress(*TAKEN):
                    self.storage.set_trial_user_attr(trial._trial_id, ENDED, ABANDONED)
                    self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        self._try_again()

    def _try_again(self) -> None:
        for slot in self.slots().values():
            if slot.to_try_again:
                self.study.enqueue_trial(dict(slot.last.params), user_attrs={SLOT: slot.number})

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        path = self._claim_path(trial.number)
        if path.exists():
            return claims.is_stale_claim(path, self.lease)
        if OWNER not in trial.user_attrs:  # its process ended, or is about to claim it
            started = trial.datetime_start
            return started is not None and (datetime.now() - started).total_seconds() > self.lease
        # Claimed elsewhere, without a folder in common: its heartbeat tells. In the journal's own folder: given up.
        return self._beat is None

    def _claim_path(self, number: int) -> Path:
        return self._claims / f"trial-{number}" / "claim.json"

    def close(self) -> None:
        """End the heartbeats."""
        if self._beat is not None:
            self._beat.end()

    # What the study is -------------------------------------------------------------------------------------------

    def _define(self, where: str) -> str | None:
        """Say what the study is for; the revision of the code that it was begun with, None where that isn't known.

        Raises UsageError where another process just said otherwise.
        """
        if DEFINITION not in self.study.user_attrs:
            self.study.set_user_attr(REVISION, git_revision()[0])
            self.study.set_user_attr(DEFINITION, _definition(self.case))
        refuse_other_definition(self.case, self.storage, where)
        begun_by: str | None = self.study.user_attrs.get(REVISION)
        return begun_by


def refuse_other_definition(case: StudyCase, storage: BaseStorage, where: str) -> None:
    """Raise UsageError where the storage has a study by the case's name that was made for something else."""
    try:
        attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(case.name))
    except KeyError:
        return
    wanted = _definition(case)
    found = attributes.get(DEFINITION, wanted)
    if found == wanted:
        return
    said = definition_differences(found, wanted)
    more = f"; and {len(said) - 4} more" if len(said) > 4 else ""
    raise UsageError(
        f"the study {case.name} in {where} was made for something else: {'; '.join(said[:4])}{more}. Its trials "
        f"can't be compared with new ones: type --study-name {_fresh(case.name)} for a new study, or the old options"
    )


def _definition(case: StudyCase) -> Any:
    """As it comes back from a storage."""
    return json.loads(json.dumps(case.definition()))


def optuna_distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's distribution for a dimension."""
    if dimension.kind == "choice":
        return CategoricalDistribution(dimension.choices)
    if dimension.kind == "integer":
        return IntDistribution(int(dimension.low), int(dimension.high))
    return FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log-uniform")


def definition_differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """How two definitions differ, each item in words."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = [*found, *(key for key in wanted if key not in found)]
        return [
            text
            for key in keys
            for text in definition_differences(
                found.get(key, "nothing"), wanted.get(key, "nothing"), f"{name} {key}".strip()
            )
        ]
    return [] if found == wanted else [f"{name.replace('_', ' ')}: {_said(found)} there, {_said(wanted)} here"]


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:37]}..." if len(text) > 40 else text
