"""Whole numbers that add up: shares of a total, rounded by largest remainder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DECIMALS = 9
"""Quotas are compared to nine decimals, so that 0.1 * 3 and 0.3 are one number on every machine."""


def half_up(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The nearest whole numbers, halves upwards; never falls where the values rise."""
    return np.floor(np.round(values, DECIMALS) + 0.5).astype(np.int64)


def largest_remainder(
    quotas: NDArray[np.float64], totals: NDArray[np.int64], priority: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Round each row of `quotas` (R, K) to whole numbers that add up to `totals` (R,).

    Each number is its quota rounded down or up: what is missing after rounding down goes to the largest remainders,
    among equal remainders to the lowest `priority` (R, K). Each total must be its row's sum, rounded down or up.
    """
    quotas = np.round(quotas, DECIMALS)
    counts = np.floor(quotas).astype(np.int64)
    remainders = np.round(quotas - counts, DECIMALS)
    ranked = np.lexsort((priority, -remainders), axis=-1)
    missing = totals - counts.sum(axis=1)
    raised = np.arange(quotas.shape[1])[None, :] < missing[:, None]
    np.put_along_axis(counts, ranked, np.take_along_axis(counts, ranked, axis=1) + raised, axis=1)
    return counts


def ranks(groups: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place (N,), from 0, of each entry among those of its group by rising value; ties by position."""
    ordered = np.lexsort((values, groups))
    sizes = np.bincount(groups) if len(groups) else np.zeros(0, dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    places = np.empty(len(groups), dtype=np.int64)
    places[ordered] = np.arange(len(groups)) - np.repeat(starts, sizes)
    return places
