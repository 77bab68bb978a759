"""Selection by small loss: how much to forget, which samples are kept, and the mean over them.

Every shape is static: what is kept is a mask, so that a step stays a function of tensors.
"""

from __future__ import annotations

from torch import Tensor, arange, float64, inf, int64, log_softmax


def linspace_ramp(epoch: int, length: int) -> float:
    """Value in [0, 1] at `epoch` (from 0): epoch / (length - 1) in the first `length` epochs, 1 after them.

    A length of 1 gives one epoch of 0; a length of 0 gives 1 throughout. Source: numpy's linspace, by which
    Co-teaching's and CORES2's official codes write their schedules, so that the last epoch of the ramp has its end.
    """
    if epoch >= length:
        return 1.0
    return epoch / max(length - 1, 1)


def forget_rate(epoch: int, rate: float, length: int, exponent: float = 1.0) -> float:
    """Share in [0, rate] of a batch that `epoch` forgets: rate * ramp^exponent, 0 at first, never falling.

    `rate` in [0, 1], `length` of the ramp in epochs, `exponent` > 0. Source: Han et al., "Co-teaching", NeurIPS 2018,
    R(T) with ramp = `linspace_ramp`.
    """
    return float(rate * linspace_ramp(epoch, length) ** exponent)


def keep_counts(rate: float, batch: int) -> Tensor:
    """How many samples are kept of 0, 1, ..., `batch` ones, int64 (batch + 1,): int((1 - rate) n), but at least 1.

    `rate` in [0, 1]. A product that rounding leaves just under a whole number counts as that number: 0.1 of 10 is 1.
    """
    samples = arange(batch + 1, dtype=float64)
    counts: Tensor = ((1 - rate) * samples + 1e-9).floor().to(int64)
    return counts.clamp(min=1).minimum(samples.to(int64))


def smallest(losses: Tensor, count: Tensor, among: Tensor | None = None) -> Tensor:
    """Mask bool (B,) of the `count` (0-d int64) smallest of `losses` (B,), without gradient.

    `among` bool (B,) restricts the choice; `count` may not be more than it has. Equal losses: the earlier one first.
    """
    values = losses.detach()
    if among is not None:
        values = values.masked_fill(~among, inf)
    return values.argsort(stable=True).argsort() < count


def mean_over(losses: Tensor, chosen: Tensor) -> Tensor:
    """Mean (0-d) of `losses` (B,) over the mask `chosen` bool (B,); 0, with a gradient of 0, where it is empty."""
    weight = chosen.to(losses.dtype)
    return (weight * losses).sum() / weight.sum().clamp(min=1)


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p) in nats (B,), >= 0, of two networks' logits (B, K), p and q their softmax.

    As sum_k (p_k - q_k)(ln p_k - ln q_k), of which no term is negative; 0 where the logits are equal. Source: Wei et
    al., "JoCoR", CVPR 2020.
    """
    log_p, log_q = log_softmax(first, dim=1), log_softmax(second, dim=1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1)
