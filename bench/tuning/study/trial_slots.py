"""Slots: what a study's budget counts. A trial that failed and the one that tries again share a slot.

A slot's number, not its trial's, decides what is suggested and where it may be pruned, so that a study that was killed
and continued goes on as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


SLOT = "slot"
"""Attribute of a trial that tries a slot again."""
VOID = "void"
"""Attribute of a trial that was asked for twice over, by processes that met: it counts for nothing."""
ENDED = "ended"
"""Attribute of a failed trial: how it came to that, a key of MOST."""
FAILED, ABANDONED = "failed", "abandoned"
MOST = {FAILED: 2, ABANDONED: 10}
"""How often a slot may end so before it isn't tried again."""
LIVE = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class TrialSlot:
    """One slot of a study and its attempts, oldest first."""

    number: int
    attempts: tuple[FrozenTrial, ...]

    @property
    def last(self) -> FrozenTrial:
        """The attempt that counts."""
        standing = [trial for trial in self.attempts if trial.state != TrialState.FAIL]
        return standing[0] if standing else self.attempts[-1]

    @property
    def to_try_again(self) -> bool:
        """Whether nobody is at it, it has no result, and it has attempts left."""
        if self.last.state != TrialState.FAIL:
            return False
        how = [trial.user_attrs.get(ENDED, ABANDONED) for trial in self.attempts]
        return all(how.count(each) < most for each, most in MOST.items())

    @property
    def over(self) -> bool:
        """Whether it has come to its end, with a result or without."""
        return self.last.state not in LIVE and not self.to_try_again


def group_slots(trials: Sequence[FrozenTrial]) -> dict[int, TrialSlot]:
    """The slots of a study by number, from all its trials in order."""
    attempts: dict[int, list[FrozenTrial]] = {}
    for number, trial in _numbered(trials):
        attempts.setdefault(number, []).append(trial)
    return {number: TrialSlot(number, tuple(found)) for number, found in sorted(attempts.items())}


def trial_slot(number: int, trials: Sequence[FrozenTrial]) -> int:
    """The slot of the trial with a number. Raises ValueError for a void one."""
    for slot, trial in _numbered(trials):
        if trial.number == number:
            return slot
    raise ValueError(f"trial {number} has no slot")


def _numbered(trials: Sequence[FrozenTrial]) -> Iterable[tuple[int, FrozenTrial]]:
    first = 0
    for trial in trials:
        if trial.user_attrs.get(VOID):
            continue
        again = trial.user_attrs.get(SLOT)
        yield (first if again is None else again), trial
        first += again is None
