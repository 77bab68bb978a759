"""Several processes that train one run together: who takes which samples, and how their results become one.

Every process holds the whole training part and the same weights. It takes every `size`-th sample of each batch,
gradients are summed with the weight of each share, and memory per sample is merged by who visited a sample last, so
that at the end of a pass all processes know the same. Alone, every call here returns what it was given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class ProcessGroup:
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

    def for_count(self, count: int) -> ProcessGroup:
        """These processes for work on `count` entries; each one alone where they are too few to share."""
        return SINGLE_PROCESS if count < self.size else self

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

    def largest(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The largest of each value over the processes; every process waits for the others, and for its device."""
        if self.alone:
            return list(values)
        # float64, so that all know the same numbers to the last bit of what was measured
        most = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        return [float(value) for value in most.tolist()]

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


def current_process_group() -> ProcessGroup:
    """The processes that have met in this one's process group; this one alone where there is none."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return SINGLE_PROCESS
    return ProcessGroup(distributed.get_rank(), distributed.get_world_size())


SINGLE_PROCESS = ProcessGroup()
"""The one process of an ordinary run."""

SECONDS_BETWEEN_VOTES = 0.25
"""How long processes that train together go on before they ask one another whether to stop."""


class StopVote:
    """Whether to stop, asked before every step: true in all processes at the same step once any of them was told to.

    Alone, every call asks. Together, asking means that all wait for one another and for their devices, so they do it
    every so many steps: as many as take SECONDS_BETWEEN_VOTES at the slowest one's pace, agreed upon at each vote.
    """

    def __init__(self, ranks: ProcessGroup, device: torch.device, should_stop: Callable[[], bool]) -> None:
        self.votes = 0
        self._ranks, self._device, self._should_stop = ranks, device, should_stop
        self.begin()

    def begin(self) -> None:
        """A pass begins: its steps may take longer than those before it, so the pace is measured anew."""
        self._left = self._between = 0
        self._since: float | None = None

    def __call__(self) -> bool:
        """Whether to stop before the next step."""
        if self._ranks.alone:
            return self._should_stop()
        if self._left:
            self._left -= 1
            return False
        now = time.perf_counter()
        pace = math.inf if self._since is None else (now - self._since) / (self._between + 1)
        told, slowest = self._ranks.largest([float(self._should_stop()), pace], self._device)
        self.votes += 1
        # at most twice as many as before: one quick step says little about the next hundred
        self._between = min(2 * self._between + 1, int(SECONDS_BETWEEN_VOTES / max(slowest, 1e-9)))
        self._left, self._since = self._between, time.perf_counter()
        return told > 0


class LastVisits:
    """Which samples this process visited in a pass, and when: what `merge` needs. Alone, it does nothing."""

    def __init__(self, ranks: ProcessGroup, samples: int, device: torch.device) -> None:
        self.ranks = ranks
        self.last = torch.zeros(0 if ranks.alone else samples, dtype=torch.int64, device=device)

    def note(self, batches: Iterable[Tensor], number: int) -> None:
        """The samples (B,) of each stream's batch in step `number`, from 1."""
        if not self.ranks.alone:
            for index in batches:
                self.last[index] = number
