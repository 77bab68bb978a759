"""Where memory runs out in a step of training: the batch is named, with one that does fit."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

import torch

from bench.system.memory_limits import free_reserve, is_out_of_memory, process_memory_limit
from bench.system.text import format_bytes
from bench.training.inference import release_memory
from bench.training.outcome import OutOfMemory
from methods.interface import Pass, Phase

if TYPE_CHECKING:
    from bench.training.step_modes import StepRunner
    from bench.training.trainer import Trainer


STEPS_UP = 3
"""After doubling has found a batch that fits: how often a larger one is tried."""
FEWER = 16
"""The first size that is tried for it: a batch that failed, divided by this."""
ROUND = 8
SMALLER = "type a smaller --batch-size or --model, or fewer --jobs"


class OutOfMemoryGuard:
    """Around the steps of a pass: memory that runs out in one becomes OutOfMemory, which says what would have fit."""

    def __init__(self, trainer: Trainer, stepper: StepRunner, phase: Phase, work: Pass, where: tuple[int, ...]) -> None:
        self.trainer = trainer
        self.stepper = stepper
        self.phase = phase
        self.work = work
        self.where = where

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not is_out_of_memory(error):
            return
        # the frames of the failed step hold its tensors
        traceback.clear_frames(trace)
        device = self.trainer.device
        batch = min(self.trainer.spec.batch_size, self.trainer.task.samples)
        room = usable_bytes(device)
        within = "memory" if room is None else f"the {format_bytes(room)} that this process may use"
        if not self.trainer.ranks.alone:
            raise OutOfMemory(f"a batch of {batch} doesn't fit into {within}: {SMALLER}") from None
        self.stepper.forget()
        _forget_backward_pass()
        release_memory(device)
        free_reserve()
        found = largest_batch_that_fits(batch, self.fits)
        if found is None:
            raise OutOfMemory(f"a batch of {batch} doesn't fit into {within}: {SMALLER}") from None
        raise OutOfMemory(
            f"a batch of {batch} doesn't fit into {within}; the largest that did is {found}: "
            f"type --batch-size {found}, or fewer --jobs"
        ) from None

    def fits(self, batch: int) -> bool:
        """Whether a step of `batch` images does; it is taken with the run's own networks, whose training is over."""
        trainer = self.trainer
        for network in trainer.networks:
            for weight in network.weights:
                weight.grad = None
        release_memory(trainer.device)
        feeder = copy.copy(trainer.feeder)
        whole, feeder.batch_size = feeder.batch_size, batch
        streams = {
            name: stream if stream.batch is None else replace(stream, batch=max(1, stream.batch * batch // whole))
            for name, stream in self.work.streams.items()
        }
        try:
            work = replace(self.work, streams=streams)
            trainer.train_step(next(feeder.steps(work, trainer.networks, self.phase.name, self.where)))
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            _forget_backward_pass()
            return False
        return True


def largest_batch_that_fits(failed: int, fits: Callable[[int], bool]) -> int | None:
    """About the largest batch below `failed` that fits; None where not even 2 does.

    By doubling, from small to large, so that one attempt at most fails before there is an answer: memory that was
    filled to its limit may be too scattered afterwards for what would have fit. Few sizes are tried for the same
    reason, since libraries keep code for each: from a FEWER-th on, and lower only where that is too much already.
    Then a few steps between the two.
    """
    halves = [failed >> times for times in range(failed.bit_length() - 2, 0, -1)]
    start = next((place for place, batch in enumerate(halves) if batch * FEWER >= failed), 0)
    fitting, above = None, failed
    for batch in halves[start:]:
        if not fits(batch):
            above = batch
            break
        fitting = batch
    if fitting is None:
        for batch in reversed(halves[:start]):
            if fits(batch):
                fitting = batch
                break
            above = batch
    if fitting is None:
        return None
    for _ in range(STEPS_UP):
        between = (fitting + above) // 2
        between -= between % ROUND if between > 2 * ROUND else 0
        if not fitting < between < above:
            break
        if fits(between):
            fitting = between
        else:
            above = between
    return fitting


def _forget_backward_pass() -> None:
    """Drop what a failed backward pass left to do: autograd keeps its tensors until this thread's next one."""
    torch.zeros((), requires_grad=True).backward()  # type: ignore[no-untyped-call]


def usable_bytes(device: torch.device) -> int | None:
    """Bytes that this process may take where it computes; None where nobody says."""
    if device.type != "cuda":
        return process_memory_limit()
    free, total = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device)
    return min(int(share * total), free + torch.cuda.memory_reserved(device))
