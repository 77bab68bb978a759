"""Training steps and inference on tensors without memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.memory.footprint import DataSizes
from bench.models import build
from bench.spec import RunSpec
from bench.training.inference import inference_batch
from bench.training.step import Batch, TrainingStep
from bench.training.trainer import Trainer
from methods.interface import Pass, Phase

CPU = torch.device("cpu")


class LiveTensorBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations in here return, for as long as anything holds them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._known: dict[int, int] = {}

    def count(self, tensor: Tensor) -> None:
        """Count the memory behind a tensor, once."""
        storage = tensor.untyped_storage()
        name = storage._cdata
        if name not in self._known:
            self._known[name] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, name)

    def _gone(self, name: int) -> None:
        self.now -= self._known.pop(name, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.count(leaf)
        return result


@dataclass(frozen=True)
class ObservedStep:
    """One kind of step: the phase and pass that it is of, and its draws for one full batch."""

    phase: Phase
    epoch: int
    work: Pass
    draws: Mapping[str, Tensor]


@dataclass(frozen=True)
class ObservedInference:
    """One kind of whole-set inference with an output of the method's own; `along`: shape and type of a row."""

    output: Callable[..., Tensor]
    along: Tensor | None


def fake_network(spec: RunSpec, sizes: DataSizes) -> nn.Module:
    """The run's own network, without numbers."""
    height, width, channels = sizes.image_shape
    return build(spec.model, num_classes=sizes.classes, in_chans=channels, image_size=(height, width))


def fake_images(count: int, sizes: DataSizes) -> Tensor:
    """Normalised images (count, C, H, W)."""
    height, width, channels = sizes.image_shape
    return torch.zeros(count, channels, height, width).to(memory_format=torch.channels_last)


def take_fake_step(trainer: Trainer, make: Callable[[], TrainingStep], alive: LiveTensorBytes) -> None:
    """One step; where the loss can't do without numbers, that of `every_view`."""
    own = trainer.method.loss
    with suppress(Exception), alive:
        trainer.train_step(make())
        return
    trainer.method.loss = partial(loss_of_every_view, trainer)  # type: ignore[method-assign]
    try:
        with suppress(Exception), alive:
            trainer.train_step(make())
    finally:
        trainer.method.loss = own  # type: ignore[method-assign]


def fake_step(
    trainer: Trainer, seen: ObservedStep, draws: Mapping[str, Tensor], spec: RunSpec, sizes: DataSizes
) -> TrainingStep:
    """A step of full batches."""
    streams = {}
    for name, stream in seen.work.streams.items():
        leader = stream if stream.beside is None else seen.work.streams[stream.beside]
        count = min(leader.batch or spec.batch_size, max(2, sizes.train))
        rows = torch.zeros(count, dtype=torch.int64)
        streams[name] = Batch(rows, rows.clone(), [fake_images(count, sizes) for _ in stream.views])
    return TrainingStep(seen.phase.name, seen.epoch, seen.work.learn, draws, streams, trainer.networks)


def loss_of_every_view(trainer: Trainer, step: TrainingStep) -> Tensor:
    """A loss of every view of every stream, by each network that learns."""
    views = [(name, number) for name, batch in step.streams.items() for number in range(len(batch.views))]
    logits = [step.logits(name, number, network) for network in step.learn for name, number in views]
    return torch.stack([each.square().mean() for each in logits]).sum()


def inference_bytes(trainer: Trainer, each: ObservedInference, sizes: DataSizes, device: str) -> int:
    """Most bytes at once during an inference with an output of the method's own, beyond the networks."""
    alive = LiveTensorBytes()
    network = trainer.networks[0]
    network.module.eval()
    count = inference_batch_images(sizes, device)
    rows = () if each.along is None else (each.along.new_zeros((count, *each.along.shape[1:])),)
    with alive, torch.no_grad(), suppress(Exception):
        each.output(network.module, fake_images(count, sizes), *rows)
    return alive.peak


def inference_batch_images(sizes: DataSizes, device: str) -> int:
    """Images of an inference batch."""
    height, width, _ = sizes.image_shape
    return min(inference_batch(torch.device(device), (height, width)), max(sizes.train, sizes.test))
