"""Exact nearest neighbours in a set of feature vectors, by blocks: no index to build and none to go stale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Metric = Literal["cosine", "euclidean"]

BLOCK = 1 << 26
"""Similarities held at once: 256 MiB of float32."""

GROUP = 64
"""Columns whose largest similarity stands for all of them in a first, coarse choice."""


@torch.no_grad()
def nearest(
    queries: Tensor, bank: Tensor, count: int, metric: Metric = "euclidean", exclude: Tensor | None = None
) -> Tensor:
    """Positions int64 (Q, count) in `bank` (N, D) of each query's nearest vectors, nearest first; queries (Q, D).

    Exact up to the rounding of float32 similarities; of equally near ones the lowest position comes first. Before
    Euclidean distances are compared, the bank's mean is subtracted from both sides, so that they don't drown in it; a
    vector of zeros has a cosine of 0 to every other. `exclude` int64 (Q,): the position in `bank` that each query must
    not find, which is itself where it stands there; equal vectors elsewhere are found. It waits for no device and its
    shapes depend on no value. Cost: 2 Q N D operations. Raises ValueError where `count` isn't in [1, N - 1] or where
    shapes don't fit.
    """
    _check(queries, bank, count, metric, exclude)
    bank, queries = bank.float(), queries.float()
    if metric == "cosine":
        bank, queries = (values / values.norm(dim=1, keepdim=True).clamp(min=1e-12) for values in (bank, queries))
    else:
        centre = bank.mean(dim=0)
        bank, queries = bank - centre, queries - centre
        # Of -|q - x|^2 / 2 the part that depends on x, q.x - |x|^2 / 2, as one product.
        bank = torch.cat([bank, -bank.square().sum(dim=1, keepdim=True) / 2], dim=1)
        queries = torch.cat([queries, queries.new_ones(len(queries), 1)], dim=1)
    width = -(-len(bank) // GROUP) * GROUP
    rows = min(max(1, BLOCK // width), len(queries))
    # one buffer for all blocks; what fills up its last group is farther than anything
    similarity = bank.new_empty(rows, width)
    similarity[:, len(bank) :] = -torch.inf
    found = torch.zeros(len(queries), count, dtype=torch.int64, device=bank.device)
    for start in range(0, len(queries), max(rows, 1)):
        part = queries[start : start + rows]
        block = similarity[: len(part)]
        torch.mm(part, bank.T, out=block[:, : len(bank)])
        if exclude is not None:
            block.scatter_(1, exclude[start : start + rows].unsqueeze(1), -torch.inf)
        found[start : start + rows] = _largest_by_groups(block, count)
    return found


def nearest_in_batch(features: Tensor, count: int, metric: Metric = "euclidean") -> Tensor:
    """Positions int64 (B, min(count, B - 1)) of each sample's nearest others in its batch; features (B, D)."""
    everyone = torch.arange(len(features), device=features.device)
    if len(features) < 2:
        return everyone.new_zeros(len(features), 0)
    return nearest(features, features, min(count, len(features) - 1), metric, everyone)


def neighbour_weights(clean: Tensor, epsilon: float = 1e-10, symmetric: bool = True) -> Tensor:
    """Shares (B, 1 + K), rows summing to 1, of samples and neighbours whose clean probabilities are `clean` (B, 1 + K).

    o_j = (w_j + e) / sum_k (w_k + e); where all are 0, equal shares. `symmetric` False: only the sample itself, column
    0, has an e, as in MixNN's official code for K = 1; where all are 0, it stands alone.
    """
    added = torch.full_like(clean[0], epsilon)
    if not symmetric:
        added[1:] = 0
    raised = clean + added
    return raised / raised.sum(dim=1, keepdim=True)


def mix_neighbours(values: Sequence[Tensor], shares: Tensor) -> Tensor:
    """sum_j o_ij v_ij: 1 + K tensors of one shape (B, ...), images or targets, and shares (B, 1 + K)."""
    columns = shares.T.reshape(shares.shape[1], len(shares), *[1] * (values[0].dim() - 1))
    mixed = columns[0] * values[0]
    for share, value in zip(columns[1:], values[1:], strict=True):
        mixed = mixed + share * value
    return mixed


def _largest_by_groups(values: Tensor, count: int) -> Tensor:
    """`_largest` of rows whose length is a multiple of GROUP, reading the whole of them only once."""
    groups = values.shape[1] // GROUP
    if groups <= count:
        return _largest(values, count)
    grouped = values.view(len(values), groups, GROUP)
    # The best `count` lie in the `count` groups with the best maxima: only these are searched, in the order of their
    # columns, so that ties fall as in the whole row.
    chosen = _largest(grouped.amax(dim=2), count).sort(dim=1).values
    candidates = grouped.gather(1, chosen.unsqueeze(2).expand(-1, -1, GROUP)).flatten(1)
    place = _largest(candidates, count)
    return chosen.gather(1, place // GROUP) * GROUP + place % GROUP


def _largest(values: Tensor, count: int) -> Tensor:
    """Columns int64 (B, count) of each row's largest values float32 (B, N), largest first, the lower column in a tie.

    topk promises no order among equals, so it is given integers that are never equal: a float's bits, in the order of
    the floats, before the column counted from the end.
    """
    # -0.0 and 0.0 have different bits; their sums with 0.0 don't
    bits = (values + 0.0).view(torch.int32)
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    columns = torch.arange(values.shape[1] - 1, -1, -1, device=values.device)
    keys = (ordered << 32) | columns
    return keys.topk(count, dim=1).indices


def _check(queries: Tensor, bank: Tensor, count: int, metric: str, exclude: Tensor | None) -> None:
    """ValueError unless shapes fit, the metric is known and the bank holds more than `count` vectors."""
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(
            f"queries (Q, D) and bank (N, D) need one D, got {tuple(queries.shape)} and {tuple(bank.shape)}"
        )
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric={metric!r} must be one of cosine, euclidean")
    if not 1 <= count < len(bank):
        raise ValueError(f"count={count} neighbours of {len(bank)} samples: count must be in [1, {len(bank) - 1}]")
    if exclude is not None and exclude.shape != queries.shape[:1]:
        raise ValueError(f"exclude must have shape ({len(queries)},), one position a query, got {tuple(exclude.shape)}")
