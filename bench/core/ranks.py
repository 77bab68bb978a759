"""Several processes that train one run together: who takes which samples, and how their results become one.

Every process holds the whole training part and the same weights. It takes every `size`-th sample of each batch,
gradients are summed with the weight of each share, and memory per sample is merged by who visited a sample last, so
that at the end of a pass all processes know the same. Alone, every call here returns what it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

if TYPE_CHECKING:
    from bench.core.batches import Batch


@dataclass(frozen=True)
class Ranks:
    """This process's `number` among `size`, in [0, size). With size 1 nothing is ever sent."""

    number: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.size:
            raise ValueError(f"rank {self.number} isn't one of {self.size}")

    @property
    def alone(self) -> bool:
        """Whether this process trains by itself."""
        return self.size == 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.number == 0

    def mine(self, values: Tensor) -> Tensor:
        """This process's share of the first axis: every `size`-th entry from its number on."""
        return values if self.alone else values[self.number :: self.size]

    def for_count(self, count: int) -> Ranks:
        """These processes for work on `count` entries; each one alone where they are too few to share."""
        return ALONE if count < self.size else self

    def largest_share(self, count: int) -> int:
        """The most entries of `count` that one process takes."""
        return -(-count // self.size)

    def sum_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one message; weights without one stay as they are."""
        if self.alone:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if gradients:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            distributed.all_reduce(flat)
            pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
            for gradient, piece in zip(gradients, pieces, strict=True):
                gradient.copy_(piece.view_as(gradient))

    def sum(self, value: Tensor) -> Tensor:
        """The sum of `value` over the processes."""
        if self.alone:
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether `flag` is set in any process."""
        return flag if self.alone else bool(self.sum(torch.tensor(float(flag), device=device)) > 0)

    def gather(self, share: Tensor, count: int) -> Tensor:
        """All of `count` entries, in order, out of every process's `mine` of them."""
        if self.alone:
            return share
        padded = share.new_zeros((self.largest_share(count), *share.shape[1:]))
        padded[: len(share)] = share
        pieces = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(pieces, padded)
        whole = share.new_empty((count, *share.shape[1:]))
        for number, piece in enumerate(pieces):
            place = whole[number :: self.size]
            place.copy_(piece[: len(place)])
        return whole

    def lead(self, tensors: Sequence[Tensor]) -> None:
        """Give every process the first one's values of `tensors`, in place."""
        if not self.alone:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def told(self, value: Any) -> Any:
        """The first process's `value` (numbers, text, tensors and what holds them), in every process."""
        if self.alone:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def merge(self, tensors: Sequence[Tensor], visited: Tensor) -> None:
        """Make memory per sample one, in place: each sample's row is that of the process that visited it last.

        `tensors` have the samples as their first axis; `visited` int64 (samples,) holds this process's last step at
        each sample, from 1, and 0 where it never was. Where two visited a sample in one step, as a stream that draws
        with replacement may, it is the first one's; where nobody did, too.
        """
        if self.alone or not tensors:
            return
        stamp = torch.where(visited > 0, (visited + 1) * self.size, self.size) - self.number
        last = stamp.clone()
        distributed.all_reduce(last, distributed.ReduceOp.MAX)
        theirs = last > stamp
        for tensor in tensors:
            rows = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor.clone()
            rows[theirs] = 0
            distributed.all_reduce(rows)
            tensor.copy_(rows)


def present() -> Ranks:
    """The processes that have met in this one's process group; this one alone where there is none."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Ranks(distributed.get_rank(), distributed.get_world_size())


ALONE = Ranks()
"""The one process of an ordinary run."""


class Visits:
    """Which samples this process visited in a pass, and when: what `merge` needs. Alone, it does nothing."""

    def __init__(self, ranks: Ranks, samples: int, device: torch.device) -> None:
        self.ranks = ranks
        self.last = torch.zeros(0 if ranks.alone else samples, dtype=torch.int64, device=device)

    def note(self, batches: Iterable[Batch], number: int) -> None:
        """Each stream's batch in step `number`, from 1."""
        if not self.ranks.alone:
            for batch in batches:
                self.last[batch.index] = number
