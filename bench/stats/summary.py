"""The statistics of a board: means with intervals, paired differences, and the set that may contain the best.

Sums are exact (`math.fsum`), so that no result depends on the order in which replicates arrive.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

CONFIDENCE = 0.95
LEAST_REPLICATES = 5
"""With fewer replicates nothing is called a candidate for the best: they say too little."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (ddof 1) and 95 % t-interval of n values; n = 1 has a mean only."""

    n: int
    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None


def summarise(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and 95 % t-interval of `values`; ValueError if there are none."""
    if not values:
        raise ValueError("nothing to summarise")
    n = len(values)
    mean, std = _moments(values)
    if n == 1:
        return Summary(1, mean)
    half = _quantile(n - 1, (1 + CONFIDENCE) / 2) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - half, mean + half)


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that aren't None; None if there are none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def paired_differences(these: Mapping[Key, float], those: Mapping[Key, float]) -> list[float]:
    """Paired differences these - those over the common keys, to 12 decimals: equal shares differ by rounding alone."""
    return [round(these[key] - those[key], 12) for key in these if key in those]


def p_below_zero(values: Sequence[float]) -> float:
    """One-sided p-value of a paired t-test that the mean of two or more differences is below 0."""
    mean, std = _moments(values)
    if len(values) < 2:
        raise ValueError("a test of differences needs two of them")
    if std == 0:
        return 0.0 if mean < 0 else 1.0
    from scipy.special import stdtr  # light; scipy.stats takes most of a second to import

    return float(stdtr(len(values) - 1, mean / (std / math.sqrt(len(values)))))


def holm_rejections(p_values: Sequence[float], level: float = 1 - CONFIDENCE) -> list[bool]:
    """For each hypothesis, whether Holm's step-down procedure rejects it at family-wise error `level` (Holm 1979)."""
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for step, index in enumerate(order):
        if p_values[index] > level / (len(p_values) - step):
            break
        rejected[index] = True
    return rejected


def may_be_best(accuracies: Mapping[str, Mapping[Key, float]]) -> frozenset[str] | None:
    """The set that may contain the best row, or None where too little is known to say.

    `accuracies` holds each row's accuracy at each replicate; all rows have the same replicates. A row is in the set
    unless its paired difference to the leader (the highest mean) is significantly below 0: one-sided paired t-tests,
    Holm-corrected at 5 %. None below five replicates or two rows.
    """
    if len(accuracies) < 2 or min(len(row) for row in accuracies.values()) < LEAST_REPLICATES:
        return None
    best = leader(accuracies)
    others = [name for name in accuracies if name != best]
    rejections = holm_rejections(
        [p_below_zero(paired_differences(accuracies[name], accuracies[best])) for name in others]
    )
    return frozenset({best, *(name for name, rejected in zip(others, rejections, strict=True) if not rejected)})


def leader(accuracies: Mapping[str, Mapping[Key, float]]) -> str:
    """The row with the highest mean; of equal ones, the first by name."""
    means = {name: round(_moments(list(row.values()))[0], 12) for name, row in accuracies.items()}
    return min(means, key=lambda name: (-means[name], name))


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for a single value)."""
    n = len(values)
    if min(values) == max(values):
        return values[0], 0.0
    mean = math.fsum(values) / n
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))


def _quantile(degrees: int, share: float) -> float:
    """The quantile of Student's t with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, share))
