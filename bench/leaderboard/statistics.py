"""How sure a row is, and which rows may be the best. All values are fractions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ENOUGH = 5
"""Replicates below which no row is marked: with fewer, nearly every row could be the best."""

LEVEL = 0.05


@dataclass(frozen=True)
class Summary:
    """Mean of n values, their sample standard deviation (ddof = 1) and the mean's 95 % t-interval.

    `std`, `low` and `high` are None for a single value.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of finite values; None of none."""
    n = len(values)
    if not n:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None, None, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = _t_quantile(n - 1) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - half, mean + half)


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of what is there, or None."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def may_be_best(scores: Mapping[str, Mapping[tuple[int, ...], float]]) -> set[str] | None:
    """Names of the rows that may be the best; None where there are too few common replicates to tell.

    `scores` holds each row's score by replicate. Against the row with the highest mean, every other one is tested on
    their paired differences (one-sided t-test over common replicates); those that Holm's procedure doesn't reject at
    5 % stay in the set, and so does the leader. Pairing matters: replicates differ more among one another than rows do.
    """
    if not scores:
        return None
    common = set.intersection(*(set(by_replicate) for by_replicate in scores.values()))
    if len(common) < ENOUGH:
        return None
    means = {name: math.fsum(row[key] for key in common) / len(common) for name, row in scores.items()}
    leader = max(means, key=lambda name: means[name])
    chances = {
        name: _chance_of_no_gap([scores[leader][key] - row[key] for key in common])
        for name, row in scores.items()
        if name != leader
    }
    return {leader} | (set(chances) - _holm(chances))


def _holm(chances: Mapping[str, float]) -> set[str]:
    """The names whose hypotheses Holm's step-down procedure rejects at 5 %."""
    rejected: set[str] = set()
    for done, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        if chances[name] > LEVEL / (len(chances) - done):
            break
        rejected.add(name)
    return rejected


def _chance_of_no_gap(differences: Sequence[float]) -> float:
    """p-value of "the leader isn't ahead", given leader minus row by replicate."""
    from scipy.special import stdtr

    summary = summarise(differences)
    assert summary is not None and summary.std is not None
    if summary.std == 0:
        return 0.0 if summary.mean > 0 else 1.0
    return float(stdtr(summary.n - 1, -summary.mean / (summary.std / math.sqrt(summary.n))))


def _t_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))
