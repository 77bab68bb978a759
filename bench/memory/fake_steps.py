"""Training steps and inference on fake tensors, which have shapes and no memory, and a counter of their bytes.

Read `LiveTensorBytes` first, then `take_fake_step`. `bench.memory.rehearsal` puts the parts together.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.memory.footprint import DataSizes
from bench.spec import RunSpec
from bench.training.inference import inference_batch
from bench.training.step import Batch, TrainingStep
from bench.training.trainer import Trainer
from methods.interface import Pass, Phase


class LiveTensorBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations in this mode return, for as long as anything holds them.

    `now` and `peak` are bytes. Tensors that share memory count once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._storages: dict[int, int] = {}

    def count(self, tensor: Tensor) -> None:
        """Count the memory behind a tensor, once."""
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address not in self._storages:
            self._storages[address] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._release, address)

    def _release(self, address: int) -> None:
        self.now -= self._storages.pop(address, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.count(leaf)
        return result


@dataclass(frozen=True)
class ObservedStep:
    """One kind of step: its phase and pass, and its random draws for one full batch."""

    phase: Phase
    epoch: int
    training_pass: Pass
    draws: Mapping[str, Tensor]


@dataclass(frozen=True)
class ObservedInference:
    """One kind of inference over a set with an output of the method's own; `along` has a row's shape and type."""

    output: Callable[..., Tensor]
    along: Tensor | None


def fake_images(count: int, sizes: DataSizes) -> Tensor:
    """Normalised images (count, C, H, W) on fake tensors."""
    height, width, channels = sizes.image_shape
    return torch.zeros(count, channels, height, width).to(memory_format=torch.channels_last)


def take_fake_step(trainer: Trainer, make: Callable[[], TrainingStep], alive: LiveTensorBytes) -> None:
    """Take one step; a method whose loss reads numbers, which fake tensors lack, gets `loss_of_every_view` instead."""
    methods_loss = trainer.method.loss
    with suppress(Exception), alive:
        trainer.train_step(make())
        return
    trainer.method.loss = partial(loss_of_every_view, trainer)  # type: ignore[method-assign]
    try:
        with suppress(Exception), alive:
            trainer.train_step(make())
    finally:
        trainer.method.loss = methods_loss  # type: ignore[method-assign]


def fake_step(
    trainer: Trainer, observed: ObservedStep, draws: Mapping[str, Tensor], spec: RunSpec, sizes: DataSizes
) -> TrainingStep:
    """A step of the observed kind with full batches of the run's size."""
    training_pass = observed.training_pass
    streams = {}
    for name, stream in training_pass.streams.items():
        leader = stream if stream.beside is None else training_pass.streams[stream.beside]
        count = min(leader.batch or spec.batch_size, max(2, sizes.train))
        rows = torch.zeros(count, dtype=torch.int64)
        streams[name] = Batch(rows, rows.clone(), [fake_images(count, sizes) for _ in stream.views])
    return TrainingStep(observed.phase.name, observed.epoch, training_pass.learn, draws, streams, trainer.networks)


def loss_of_every_view(trainer: Trainer, step: TrainingStep) -> Tensor:
    """A loss that uses every view of every stream in each network that learns."""
    views = [(name, number) for name, batch in step.streams.items() for number in range(len(batch.views))]
    logits = [step.logits(name, number, network) for network in step.learn for name, number in views]
    return torch.stack([output.square().mean() for output in logits]).sum()


def inference_bytes(trainer: Trainer, observed: ObservedInference, sizes: DataSizes, device: str) -> int:
    """The peak of an inference with an output of the method's own, in bytes beyond the networks."""
    alive = LiveTensorBytes()
    network = trainer.networks[0]
    network.module.eval()
    count = inference_batch_images(sizes, device)
    along = observed.along
    rows = () if along is None else (along.new_zeros((count, *along.shape[1:])),)
    with alive, torch.no_grad(), suppress(Exception):
        observed.output(network.module, fake_images(count, sizes), *rows)
    return alive.peak


def inference_batch_images(sizes: DataSizes, device: str) -> int:
    """The number of images in an inference batch."""
    height, width, _ = sizes.image_shape
    return min(inference_batch(torch.device(device), (height, width)), max(sizes.train, sizes.test))
