"""What a study tries next: a fresh sampler for each slot, seeded by (study seed, slot)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler, TPESampler

from bench.tuning.study.trial_slots import trial_slot

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState

    from bench.spec import Value


class SlotSampler(BaseSampler):
    """Optuna's TPE, made anew for each slot; the first slot gets `first`, a point of the space.

    One seeded TPE would repeat its first draws after every restart; made anew, a study suggests what it would have
    suggested without the restart. `first` isn't enqueued: of two processes that begin a study at once, both would.
    """

    def __init__(self, seed: int, first: Mapping[str, Value]) -> None:
        self._seed = seed
        self._first = first
        self._slot = 0
        self._tpe = TPESampler(seed=0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the slot's sampler."""
        self._slot = trial_slot(trial.number, study.get_trials(deepcopy=False))
        self._tpe = TPESampler(seed=_derived(self._seed, self._slot))
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """TPE's; none for the first slot."""
        return self._tpe.infer_relative_search_space(study, trial) if self._slot else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """TPE's suggestion."""
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The first slot's values; TPE's, which draws at random until it has trials to learn from."""
        if not self._slot:
            return self._first[param_name]
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Nothing: no state is kept between trials."""


def _derived(seed: int, slot: int) -> int:
    """A seed in [0, 2**32) for one slot."""
    return int.from_bytes(hashlib.sha256(f"{seed}/slot/{slot}".encode()).digest()[:4], "little")


FACTOR = 2
"""One of so many trials goes on from a rung."""
SHARES = (0.25, 0.5)
"""Rungs, as shares of a run's epochs. None lies below a quarter: methods that resist noise cross over late."""
BRACKETS = (SHARES, SHARES[1:], ())
"""The rungs of each bracket: pruned early, pruned late, never pruned."""
TURNS = (2, 0, 1, 0, 2, 1, 0, 1, 2, 0)
"""The brackets of ten trials: as many in each as Hyperband's budgets give, ceil(3 * 2^s / (s + 1)) for s = 2, 1, 0."""
FEWEST = 4
"""A rung that fewer trials have reached prunes nothing."""


def trial_rungs(slot: int, epochs: int) -> tuple[float, ...]:
    """The rungs of the trial in a slot. The first slot's holds the method's own values, which are never pruned.

    Of two that fall on one of a run's few `epochs` the later stands, and none falls on the last.
    """
    shares = BRACKETS[TURNS[slot % len(TURNS)]] if slot else ()
    by_epoch = {rung_epoch(share, epochs): share for share in shares}
    return tuple(share for epoch, share in by_epoch.items() if epoch < epochs)


def rung_epoch(share: float, total: int) -> int:
    """The epoch (counted from 1) after which a run has a share of its epochs behind it."""
    return math.ceil(share * total)


def survives_rung(value: float, others: Sequence[float]) -> bool:
    """Whether a trial goes on from a rung where it has come to `value`, and other trials to `others`."""
    reached = len(others) + 1
    if reached < FEWEST:
        return True
    better = sum(other > value for other in others)
    return better < max(1, reached // FACTOR)
