"""The rungs at which a trial may be pruned: Hyperband (Li et al. 2018), its brackets filled in turn. Pure.

Optuna's own pruner isn't used: it would count a trial that failed and was repeated twice, give a continued study other
brackets than an uninterrupted one, and show its sampler the trials of one bracket only, a third of few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    """The rungs of the trial in a slot, as shares of its epochs. The default values, in slot 0, are never pruned.

    Of two rungs that fall on one of a run's few `epochs` the later is kept, and none falls on the last epoch.
    """
    shares = BRACKETS[TURNS[slot % len(TURNS)]] if slot else ()
    by_epoch = {rung_epoch(share, epochs): share for share in shares}
    return tuple(share for epoch, share in by_epoch.items() if epoch < epochs)


def rung_epoch(share: float, total: int) -> int:
    """The epoch (counted from 1) after which a run of `total` epochs has trained a share of them."""
    return math.ceil(share * total)


def survives_rung(value: float, others: Sequence[float]) -> bool:
    """Whether a trial goes on from a rung where it reached `value`, and other trials `others`."""
    reached = len(others) + 1
    if reached < FEWEST:
        return True
    return sum(other > value for other in others) < max(1, reached // FACTOR)
