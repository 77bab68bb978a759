"""A training step as a method sees it: batches, views, labels and logits; see `methods.interface.Step`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.training.augmentation import Augmentation
from bench.training.networks import TrainedNetwork


@dataclass
class Batch:
    """One stream's batch: positions (B,) in the training part, noisy labels (B,), views (B, C, H, W).

    `share` in (0, 1] is the size of this process's shard as a part of the group's batch.
    """

    index: Tensor
    labels: Tensor
    views: list[Tensor]
    share: float = 1.0


@dataclass(frozen=True)
class BatchPlan:
    """One stream's batch before its images are loaded: their positions, and the draws of each view.

    `index` (B,) lies on the device, `store_index` (B,) is the same where the image store looks images up.
    """

    index: Tensor
    store_index: Tensor
    views: list[tuple[Augmentation | None, dict[str, Tensor]]]
    share: float


@dataclass(eq=False)
class TrainingStep:
    """The argument of `Method.loss`. `labels`, `index` and `share` are those of the first stream's batch."""

    phase: str
    epoch: int
    learn: tuple[int, ...]
    draws: Mapping[str, Tensor]
    streams: Mapping[str, Batch]
    networks: Sequence[TrainedNetwork]

    def __post_init__(self) -> None:
        self._first = next(iter(self.streams.values()))
        self.labels, self.index, self.share = self._first.labels, self._first.index, self._first.share

    def logits(self, stream: str | None = None, view: int = 0, network: int = 0) -> Tensor:
        """Logits (B, K) float32 of one view of one stream (None: the first)."""
        batch = self._first if stream is None else self.streams[stream]
        return self.networks[network](batch.views[view])

    def network(self, number: int) -> TrainedNetwork:
        """A network by its number."""
        return self.networks[number]

    def tensors(self) -> list[Tensor]:
        """Every tensor that differs from step to step, in the same order for all steps of a pass."""
        batches = [(batch.index, batch.labels, *batch.views) for batch in self.streams.values()]
        return [*self.draws.values(), *itertools.chain.from_iterable(batches)]

    def copy(self) -> TrainingStep:
        """The same step on tensors of its own."""
        streams = {
            name: Batch(batch.index.clone(), batch.labels.clone(), [view.clone() for view in batch.views], batch.share)
            for name, batch in self.streams.items()
        }
        draws = {name: drawn.clone() for name, drawn in self.draws.items()}
        return replace(self, draws=draws, streams=streams)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`; from the CPU without waiting for the work that is queued on the device."""
    if device.type != "cuda" or values.device.type == "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
