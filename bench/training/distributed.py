"""Several processes that train one run together: how they share out samples and join their results.

Every process holds the whole training part and the same weights. It takes every `world_size`-th sample of each batch;
gradients are summed with the weight of each shard, and memory per sample is merged by who visited a sample last, so
that at the end of a pass all processes hold the same. In a single process every call returns its input. Read
`ProcessGroup` first, then `StopVote`.

The processes must make the same collective calls (all_reduce, broadcast, ...) in the same order, or they wait for one
another for ever: whatever decides on a call must be equal in all of them.
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
    """This process's `rank` in [0, world_size) among the processes of one run. A single one never sends anything."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} isn't one of {self.world_size}")

    @property
    def is_single(self) -> bool:
        """Whether this process trains by itself."""
        return self.world_size == 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def shard(self, values: Tensor) -> Tensor:
        """This process's part of the first axis: every `world_size`-th entry from its rank on."""
        return values if self.is_single else values[self.rank :: self.world_size]

    def for_count(self, count: int) -> ProcessGroup:
        """The group that works on `count` entries: this one, or each process by itself where they are too few."""
        return SINGLE_PROCESS if count < self.world_size else self

    def largest_shard(self, count: int) -> int:
        """The most entries of `count` that one process takes."""
        return -(-count // self.world_size)

    def all_reduce_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one message; weights without a gradient stay as they are."""
        if self.is_single:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if gradients:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            distributed.all_reduce(flat)
            sums = torch.split(flat, [gradient.numel() for gradient in gradients])
            for gradient, total in zip(gradients, sums, strict=True):
                gradient.copy_(total.view_as(gradient))

    def all_reduce(self, value: Tensor) -> Tensor:
        """The sum of `value` over the processes."""
        if self.is_single:
            return value
        total = value.clone()
        distributed.all_reduce(total)
        return total

    def all_reduce_max(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The largest of each value over the processes; every process waits for the others, and for its device."""
        if self.is_single:
            return list(values)
        # float64, so that all hold the same numbers to the last bit of what was measured
        largest = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return [float(value) for value in largest.tolist()]

    def all_gather(self, shard: Tensor, count: int) -> Tensor:
        """All of `count` entries, in order, from every process's `shard` of them."""
        if self.is_single:
            return shard
        # all_gather takes tensors of one shape only
        padded = shard.new_zeros((self.largest_shard(count), *shard.shape[1:]))
        padded[: len(shard)] = shard
        shards = [torch.empty_like(padded) for _ in range(self.world_size)]
        distributed.all_gather(shards, padded)
        entries = shard.new_empty((count, *shard.shape[1:]))
        for rank, received in enumerate(shards):
            target = entries[rank :: self.world_size]
            target.copy_(received[: len(target)])
        return entries

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite `tensors` in every process with the main process's values."""
        if not self.is_single:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def broadcast_object(self, value: Any) -> Any:
        """The main process's `value` (numbers, text, tensors and what holds them), in every process."""
        if self.is_single:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def merge_last_visited(self, tensors: Sequence[Tensor], last_step: Tensor) -> None:
        """Merge memory per sample in place: each sample's row becomes that of the process that visited it last.

        `tensors` have the samples as their first axis; `last_step` int64 (samples,) holds this process's last step at
        each sample, from 1, and 0 for a sample that it never visited. Where two processes visited a sample in the same
        step (a stream that draws with replacement), or none did, the row of the lowest rank is taken.
        """
        if self.is_single or not tensors:
            return
        stamp = torch.where(last_step > 0, (last_step + 1) * self.world_size, self.world_size) - self.rank
        latest = stamp.clone()
        distributed.all_reduce(latest, distributed.ReduceOp.MAX)
        visited_elsewhere = latest > stamp
        for tensor in tensors:
            rows = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor.clone()
            # one process alone keeps its row, so that the sum over all is that row
            rows[visited_elsewhere] = 0
            distributed.all_reduce(rows)
            tensor.copy_(rows)


def current_process_group() -> ProcessGroup:
    """The group that torch.distributed has set up for this process, or a single process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return SINGLE_PROCESS
    return ProcessGroup(distributed.get_rank(), distributed.get_world_size())


SINGLE_PROCESS = ProcessGroup()
"""The group of an ordinary run."""

SECONDS_BETWEEN_VOTES = 0.25
"""How long processes that train together go on before they ask one another whether to stop."""


class StopVote:
    """Decides before every step whether to stop; all processes stop at the same step once one of them wants to.

    In a single process every call asks `should_stop`. In a group, asking makes all processes wait for one another and
    for their devices, so they ask after every few steps: as many as take SECONDS_BETWEEN_VOTES at the slowest one's
    pace, which is agreed upon at each vote.
    """

    def __init__(self, group: ProcessGroup, device: torch.device, should_stop: Callable[[], bool]) -> None:
        self.votes = 0
        self._group, self._device, self._should_stop = group, device, should_stop
        self.start_pass()

    def start_pass(self) -> None:
        """Measure the pace anew: the steps of a new pass may take longer than those before it."""
        self._steps_left = self._steps_between = 0
        self._last_vote: float | None = None

    def __call__(self) -> bool:
        """Whether to stop before the next step."""
        if self._group.is_single:
            return self._should_stop()
        if self._steps_left:
            self._steps_left -= 1
            return False
        now = time.perf_counter()
        pace = math.inf if self._last_vote is None else (now - self._last_vote) / (self._steps_between + 1)
        # a synchronisation point: every process votes at this step, since the pace that they agreed on is one number
        stop, slowest = self._group.all_reduce_max([float(self._should_stop()), pace], self._device)
        self.votes += 1
        # at most twice as many as before: one quick step says little about the next hundred
        self._steps_between = min(2 * self._steps_between + 1, int(SECONDS_BETWEEN_VOTES / max(slowest, 1e-9)))
        self._steps_left, self._last_vote = self._steps_between, time.perf_counter()
        return stop > 0


class LastVisits:
    """The step at which this process last visited each sample in a pass; not kept in a single process.

    `last_step` int64 (samples,) counts steps from 1; 0: never. It is what `ProcessGroup.merge_last_visited` takes.
    """

    def __init__(self, group: ProcessGroup, samples: int, device: torch.device) -> None:
        self._is_single = group.is_single
        self.last_step = torch.zeros(0 if group.is_single else samples, dtype=torch.int64, device=device)

    def record(self, batches: Iterable[Tensor], number: int) -> None:
        """Record that step `number`, from 1, visits the samples (B,) of each stream's batch."""
        if not self._is_single:
            for index in batches:
                self.last_step[index] = number
