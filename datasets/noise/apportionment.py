"""How many labels of each class are wrong, so that the classes' numbers add up to the nominal one. NumPy only."""

from __future__ import annotations

import heapq
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from datasets.rounding import DECIMALS, half_up

Counts = NDArray[np.int64]
ENOUGH_PER_CLASS = 50
"""Images a class on average, from which on each class is rounded alone: half a label of it is at most 1 %."""


def rounds_in_total(samples: int, classes: int) -> bool:
    """Whether classes are so small that rounding each alone could move the overall rate by more than 0.01."""
    return samples < ENOUGH_PER_CLASS * classes


def count_wrong(sizes: Counts, shares: NDArray[np.float64], priority: NDArray[np.float64]) -> Counts:
    """The number of wrong labels of each class (K,): its quota sizes * shares, rounded up or down.

    Where classes are large, each is rounded alone, halves up. Where they are small (`rounds_in_total`), the numbers add
    up to the nominal one to within a label. Both never fall as the rate rises, if it scales all shares alike.
    `priority` (K,) decides between equal claims.
    """
    if rounds_in_total(int(sizes.sum()), len(sizes)):
        return share_out(sizes, shares, priority)
    return half_up(sizes * shares)


def share_out(sizes: Counts, shares: NDArray[np.float64], priority: NDArray[np.float64]) -> Counts:
    """The numbers of wrong labels, each its quota rounded up or down, that add up to the nominal number within a label.

    As the rate rises, wrong labels come one at a time: the k-th of a class while its quota goes from k - 1 to k, the
    j-th of all while the nominal number goes from j - 1 to j. Such an order exists for any sizes, and always taking the
    one that must come soonest finds it (Steiner and Yeomans, Management Science 1993, the windows of just-in-time
    schedules: release j > (k - 1) / p, due j - 1 < k / p for a class with the share p of all). The j-th comes where the
    nominal number is j - 1/2, or else as close to it as its class allows. The order depends on sizes and priorities
    alone, not on the rate, so rates nest.
    """
    quotas = np.round(sizes * shares, DECIMALS)
    counts = np.floor(quotas).astype(np.int64)
    nominal = float(quotas.sum())
    if (quotas == counts).all() or not nominal:
        return counts
    weights = _weights(sizes, shares)
    total = float(weights.sum())
    spans = {each: total / float(weights[each]) for each in np.flatnonzero(weights > 0).tolist()}
    done = dict.fromkeys(spans, 0)
    waiting = [(1, float(priority[each]), each) for each in spans]  # by the slot that releases the next label
    due: list[tuple[int, float, int]] = []
    heapq.heapify(waiting)
    result = np.zeros(len(sizes), dtype=np.int64)
    slack = 1e-9 * max(1.0, nominal)
    for slot in range(1, ceil(nominal - slack) + 1):
        while waiting and waiting[0][0] <= slot:
            _, claim, each = heapq.heappop(waiting)
            heapq.heappush(due, (_last_slot(done[each] + 1, spans[each]), claim, each))
        if not due:  # by rounding of floating-point numbers alone
            continue
        _, claim, each = heapq.heappop(due)
        done[each] += 1
        heapq.heappush(waiting, (_first_slot(done[each] + 1, spans[each]), claim, each))
        opens, closes = (done[each] - 1) * spans[each], done[each] * spans[each]
        if opens + slack < nominal and min(slot - 0.5, closes) - slack <= nominal:
            result[each] += 1
    return result


def _weights(sizes: Counts, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The classes' claims: whole numbers where all noisy classes have one share, so that no rate changes the order."""
    noisy = shares > 0
    if noisy.any() and np.allclose(shares[noisy], shares[noisy][0], rtol=0, atol=1e-12):
        return np.where(noisy, sizes, 0).astype(np.float64)
    return sizes * shares


def _first_slot(number: int, span: float) -> int:
    """The first slot j > (number - 1) * span."""
    return floor((number - 1) * span + 1e-9) + 1


def _last_slot(number: int, span: float) -> int:
    """The last slot j with j - 1 < number * span."""
    return ceil(number * span - 1e-9)
