"""Slots: the trials that a study's budget counts. A trial that failed and its repetition share a slot.

The number of the slot, not of the trial, decides what is suggested and where a trial may be pruned. So a study that was
killed and continued goes on exactly as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

SLOT = "slot"
"""Attribute of a trial that repeats a failed one: the slot's number."""
VOID = "void"
"""Attribute of a surplus trial, which two processes asked for at the same time. It counts for nothing."""
ENDED = "ended"
"""Attribute of a failed trial: why it ended, a key of MOST_ATTEMPTS or "interrupted"."""
FAILED, ABANDONED = "failed", "abandoned"
MOST_ATTEMPTS = {FAILED: 2, ABANDONED: 10}
"""How many attempts of a slot may end in this way before the slot isn't repeated. Interruptions are unlimited."""
LIVE = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class TrialSlot:
    """One slot of a study and its attempts, oldest first."""

    number: int
    attempts: tuple[FrozenTrial, ...]

    @property
    def trial(self) -> FrozenTrial:
        """The attempt that counts: the oldest that didn't fail, else the latest."""
        return next((trial for trial in self.attempts if trial.state != TrialState.FAIL), self.attempts[-1])

    @property
    def needs_retry(self) -> bool:
        """Whether the slot has no result, no live trial, and attempts left."""
        if self.trial.state != TrialState.FAIL:
            return False
        endings = [trial.user_attrs.get(ENDED, ABANDONED) for trial in self.attempts]
        return all(endings.count(ending) < most for ending, most in MOST_ATTEMPTS.items())

    @property
    def ended(self) -> bool:
        """Whether no attempt will follow, with a result or without."""
        return self.trial.state not in LIVE and not self.needs_retry


def group_slots(trials: Sequence[FrozenTrial]) -> dict[int, TrialSlot]:
    """The slots of a study by number, from all its trials in order."""
    attempts: dict[int, list[FrozenTrial]] = {}
    for slot, trial in _with_slots(trials):
        attempts.setdefault(slot, []).append(trial)
    return {slot: TrialSlot(slot, tuple(trials)) for slot, trials in sorted(attempts.items())}


def trial_slot(number: int, trials: Sequence[FrozenTrial]) -> int:
    """The slot of the trial with a number. Raises ValueError for a void trial."""
    for slot, trial in _with_slots(trials):
        if trial.number == number:
            return slot
    raise ValueError(f"trial {number} has no slot")


def _with_slots(trials: Sequence[FrozenTrial]) -> Iterable[tuple[int, FrozenTrial]]:
    """(slot, trial) for each trial that counts; a repetition names its slot, any other trial opens the next one."""
    opened = 0
    for trial in trials:
        if trial.user_attrs.get(VOID):
            continue
        repeated = trial.user_attrs.get(SLOT)
        yield (opened if repeated is None else repeated), trial
        opened += repeated is None
