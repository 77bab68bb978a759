"""Measures the memory of a run on shapes alone, by a rehearsal whose steps are taken on fake tensors.

The batches that a method asks for, and what it infers, depend on numbers. So the method is first trained in miniature:
for real, on a few tiny random images, with a small network. Each kind of step that this training shows is then taken
again on fake tensors of the run's own network, images and batch, and the bytes that live at once are counted.

Read `measure_footprint` first, then `rehearse_training` (the miniature) and `phase_bytes` (the fake steps).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.memory.fake_steps import (
    LiveTensorBytes,
    ObservedInference,
    ObservedStep,
    fake_images,
    fake_step,
    inference_batch_images,
    inference_bytes,
    take_fake_step,
)
from bench.memory.footprint import MEBIBYTE, DataSizes, Footprint
from bench.models import build
from bench.spec import RunSpec
from bench.training.augmentation import build_augmentation
from bench.training.distributed import SINGLE_PROCESS
from bench.training.images.image_store import ImageStore, worth_mirroring
from bench.training.images.vector_store import VectorStore
from bench.training.inference import CACHE_BYTES
from bench.training.method_task import TrainingPart
from bench.training.noisy_data import build_method
from bench.training.step_modes import choose_step_mode
from bench.training.trainer import Trainer
from methods.interface import Pass, Phase, Steps

MINIATURE_MODEL, MINIATURE_SIDE, MINIATURE_EPOCHS = "cnn-small", 8, 4
TYPICAL_PROCESS, TYPICAL_SHARED = 300 * MEBIBYTE, 250 * MEBIBYTE
"""Bytes of a process that imports torch, for systems that don't say."""
BATCHES_UNDER_WAY = 4
"""Batches of images on their way from disk or memory at a time, with the one in use."""


@dataclass
class Rehearsal:
    """A training in miniature, and the first and last step of each kind in it, with the kinds of inference."""

    trainer: Trainer
    first: dict[Any, ObservedStep] = field(default_factory=dict)
    last: dict[Any, ObservedStep] = field(default_factory=dict)
    inferred: dict[Any, ObservedInference] = field(default_factory=dict)

    def phases(self) -> list[list[ObservedStep]]:
        """The first and last step of every kind, by phase."""
        by_phase: dict[str, dict[int, ObservedStep]] = {}
        for observed in (*self.first.values(), *self.last.values()):
            by_phase.setdefault(observed.phase.name, {})[id(observed)] = observed
        return [list(steps.values()) for steps in by_phase.values()]


def measure_footprint(spec: RunSpec, sizes: DataSizes, device: str) -> Footprint:
    """The memory of a run of `spec` on data of `sizes`, computed on `device`."""
    rehearsal = rehearse_training(spec, sizes)
    trainer = rehearsal.trainer
    step_mode = choose_step_mode("auto", torch.device(device), trainer.method, spec.precision, SINGLE_PROCESS)
    height, width, channels = sizes.image_shape
    process, shared = process_bytes()
    step, networks = 0, 0
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for network in (*trainer.networks, *trainer.task.averages):
            network.set_module(build(spec.model, sizes.classes, channels, (height, width)))
        for steps in rehearsal.phases():
            peak, remaining = phase_bytes(trainer, steps, spec, sizes, mode)
            step, networks = max(step, peak), max(networks, remaining)
        inferred = [inference_bytes(trainer, observed, sizes, device) for observed in rehearsal.inferred.values()]
        evaluation = max([evaluation_bytes(trainer, sizes, device), *inferred])
    task = trainer.task
    row_bytes = sum(state.numel() * state.element_size() for state in task.memory_per_sample()) // task.samples
    return Footprint(
        process=process,
        shared=shared,
        data=0 if sizes.where == "disk" else sizes.stored * sizes.sample_bytes,
        images=image_bytes(spec, sizes, device),
        networks=networks + row_bytes * sizes.train,
        step=max(0, step - networks),
        evaluation=evaluation,
        loading=2 * sizes.train * sizes.sample_bytes if sizes.where == "device" else 0,
        # Of the usual step only: the smaller last step of a pass isn't recorded.
        recorded=max(0, step - networks) if step_mode.graph else 0,
    )


def rehearse_training(spec: RunSpec, sizes: DataSizes) -> Rehearsal:
    """Train the spec's method in miniature; after an error, the steps up to there count."""
    small = spec.model_copy(
        update={
            "model": MINIATURE_MODEL if sizes.vectors is None else spec.model,
            "epochs": MINIATURE_EPOCHS,
            "learning_rate": 1e-3,
            "schedule": "constant",
            "augmentation": "none",
            "strong_augmentation": "none",
            "world_size": 1,
            # fp16 has no step on a CPU; bf16 takes the same memory.
            "precision": "bf16" if spec.precision == "fp16" else spec.precision,
        }
    )
    rehearsal = Rehearsal(_miniature_trainer(small, sizes))
    observe_passes(rehearsal, spec)
    with suppress(Exception):
        for _ in rehearsal.trainer.epochs():
            pass
    return rehearsal


def _miniature_trainer(spec: RunSpec, sizes: DataSizes) -> Trainer:
    """A trainer on a few random images of the run's channels and classes."""
    samples = max(64, 4 * sizes.classes)
    labels = torch.arange(samples) % sizes.classes
    method = build_method(spec)
    privileges = {
        "noise_rate": 0.4,
        "transition_matrix": torch.full((sizes.classes,) * 2, 0.4 / (sizes.classes - 1)).fill_diagonal_(0.6),
        "clean_labels": labels,
    }
    few = max(sizes.classes, 16)
    store, holdout = _miniature_store(samples, sizes), _miniature_store(few, sizes)
    needed = {name: privileges[name] for name in method.needs if name in privileges}
    return Trainer(
        method, spec, TrainingPart(store, labels, sizes.classes, holdout, labels[:few], needed), torch.device("cpu")
    )


def _miniature_store(samples: int, sizes: DataSizes) -> ImageStore:
    """A few random samples with the run's channels, or features."""
    generator = torch.Generator().manual_seed(0)
    channels = sizes.image_shape[2]
    if sizes.vectors is not None:
        return VectorStore(torch.rand((samples, 1, channels), generator=generator), [0.5] * channels, [0.3] * channels)
    shape = (samples, MINIATURE_SIDE, MINIATURE_SIDE, channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return ImageStore(images, [0.5] * channels, [0.25] * channels)


def observe_passes(rehearsal: Rehearsal, spec: RunSpec) -> None:
    """Let the rehearsal record each pass that the method asks for, and each inference with an output of its own."""
    method, task = rehearsal.trainer.method, rehearsal.trainer.task
    passes, infer = method.passes, task.infer

    def observed_passes(phase: Phase, epoch: int) -> Sequence[Pass]:
        planned = passes(phase, epoch)
        for work in planned:
            streams = tuple((name, stream.batch, stream.views, stream.beside) for name, stream in work.streams.items())
            kind = (phase.name, work.learn, streams)
            first = next(iter(work.streams.values()))
            draws = work.draws(Steps(1, first.batch or spec.batch_size), torch.Generator().manual_seed(0))
            rehearsal.last[kind] = ObservedStep(phase, epoch, work, draws)
            rehearsal.first.setdefault(kind, rehearsal.last[kind])
        return planned

    def observed_infer(*arguments: Any, **options: Any) -> Tensor:
        output = options.get("output")
        if output is not None:
            function = getattr(output, "func", output)
            name = getattr(function, "__qualname__", function)
            rehearsal.inferred[name] = ObservedInference(output, options.get("along"))
        return infer(*arguments, **options)

    method.passes = observed_passes  # type: ignore[method-assign]
    task.infer = observed_infer  # type: ignore[method-assign]


def phase_bytes(
    trainer: Trainer, steps: Sequence[ObservedStep], spec: RunSpec, sizes: DataSizes, mode: FakeTensorMode
) -> tuple[int, int]:
    """(peak during the steps of one phase, rest after them) in bytes, networks included."""
    trainer.optimizer_step.begin_phase(steps[0].phase)
    alive = LiveTensorBytes()
    for network in (*trainer.networks, *trainer.task.averages):
        for tensor in (*network.module.parameters(), *network.module.buffers()):
            alive.count(tensor)
    # Twice, since the optimiser makes its memory in the first round, and the peak is in the second.
    for observed in (*steps, *steps):
        for number, network in enumerate(trainer.networks):
            network.set_learning(number in observed.training_pass.learn)
        draws = {name: mode.from_tensor(values)[0] for name, values in observed.draws.items()}
        take_fake_step(trainer, partial(fake_step, trainer, observed, draws, spec, sizes), alive)
    peak, remaining = alive.peak, alive.now
    for network in trainer.networks:
        network.set_learning(True)
        for weight in network.weights:
            weight.grad = None
    return peak, remaining


def evaluation_bytes(trainer: Trainer, sizes: DataSizes, device: str) -> int:
    """The peak while the method predicts a batch, in bytes beyond its networks."""
    alive = LiveTensorBytes()
    for network in trainer.networks:
        network.module.eval()
    with alive, torch.no_grad(), suppress(Exception):
        trainer.method.predict(trainer.networks, fake_images(inference_batch_images(sizes, device), sizes))
    return alive.peak


def image_bytes(spec: RunSpec, sizes: DataSizes, device: str) -> int:
    """Bytes of training part, hold-out and test set as they are kept: padded, mirrored, and normalised if small.

    Vectors have neither a border nor mirror images, and several views in the training part.
    """
    height, width, channels = sizes.image_shape
    weak, strong = build_augmentation(spec.augmentation), build_augmentation(spec.strong_augmentation)
    pad = max(weak.pad, strong.pad)
    padded = (height + 2 * pad) * (width + 2 * pad) * channels
    holdout = int(sizes.train * spec.hold_out)
    train = sizes.train - holdout
    padded = padded if sizes.vectors is None else sizes.sample_bytes
    normalised = [4 * count * sizes.values for count in (train, holdout, sizes.test)]
    copies = sum(size for size in normalised if size <= CACHE_BYTES)
    if sizes.where != "device":
        batch = max(spec.batch_size * padded, inference_batch_images(sizes, device) * sizes.sample_bytes)
        return BATCHES_UNDER_WAY * batch + copies
    flips = weak.flip is not None or strong.flip is not None
    mirrored = flips and worth_mirroring(train, (height, width), channels, pad, torch.device(device))
    return (2 if mirrored else 1) * train * padded + (holdout + sizes.test) * sizes.sample_bytes + copies


@functools.cache
def process_bytes() -> tuple[int, int]:
    """(private, shared) bytes of this process at the first call, when it holds the same libraries as a worker."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        resident = {
            name: int(rest.split()[0]) * 1024
            for name, _, rest in (line.partition(":") for line in lines)
            if name.startswith("Rss")
        }
        return resident["RssAnon"], resident["RssFile"]
    except (OSError, KeyError, ValueError, IndexError):
        return TYPICAL_PROCESS, TYPICAL_SHARED
