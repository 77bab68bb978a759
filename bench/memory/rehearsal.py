"""Measures the memory of a run on shapes alone: its steps are taken on fake tensors, which hold no numbers.

Which batches a method asks for and what it infers depends on numbers, so it is first trained in miniature: real, on a
few tiny random images, with a small network in the place of the run's. Each kind of step that was seen there is then
taken again on fake tensors of the run's own network, images and batch, and the bytes that live at once are counted.
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
    CPU,
    LiveTensorBytes,
    ObservedInference,
    ObservedStep,
    fake_images,
    fake_network,
    fake_step,
    inference_batch_images,
    inference_bytes,
    take_fake_step,
)
from bench.memory.footprint import MEBIBYTE, DataSizes, Footprint
from bench.spec import RunSpec
from bench.training.augmentation import build_augmentation
from bench.training.distributed import SINGLE_PROCESS
from bench.training.images.image_store import ImageStore, worth_mirroring
from bench.training.inference import CACHE_BYTES
from bench.training.noisy_data import build_method
from bench.training.step_modes import choose_step_mode
from bench.training.trainer import Trainer, TrainingPart
from methods.interface import Pass, Phase, Steps

MINIATURE_MODEL, MINIATURE_SIDE, MINIATURE_EPOCHS = "cnn-small", 8, 4
TYPICAL_PROCESS, TYPICAL_SHARED = 300 * MEBIBYTE, 250 * MEBIBYTE
"""Where the system doesn't say what this process takes."""
BATCHES_UNDER_WAY = 4


@dataclass
class Rehearsal:
    """A training in miniature, and what was seen in it: the first and the last of each kind of step."""

    trainer: Trainer
    first: dict[Any, ObservedStep] = field(default_factory=dict)
    last: dict[Any, ObservedStep] = field(default_factory=dict)
    inferred: dict[Any, ObservedInference] = field(default_factory=dict)

    def phases(self) -> list[list[ObservedStep]]:
        """Every kind of step, as it was first and as it was last, by phase."""
        found: dict[str, dict[int, ObservedStep]] = {}
        for seen in (*self.first.values(), *self.last.values()):
            found.setdefault(seen.phase.name, {})[id(seen)] = seen
        return [list(kinds.values()) for kinds in found.values()]


def measure_footprint(spec: RunSpec, sizes: DataSizes, device: str) -> Footprint:
    """The memory of a run of `spec` on data of `sizes`, computed on `device`."""
    rehearsed = rehearse_training(spec, sizes)
    way = choose_step_mode("auto", torch.device(device), rehearsed.trainer.method, spec.precision, SINGLE_PROCESS)
    process, shared = process_bytes()
    step, networks = 0, 0
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        trainer = rehearsed.trainer
        for network in (*trainer.networks, *trainer.task.averages):
            network.hold(fake_network(spec, sizes))
        for kinds in rehearsed.phases():
            peak, after = phase_bytes(trainer, kinds, spec, sizes, mode)
            step, networks = max(step, peak), max(networks, after)
        inferred = [inference_bytes(trainer, each, sizes, device) for each in rehearsed.inferred.values()]
        evaluation = max([evaluation_bytes(trainer, sizes, device), *inferred])
    task = rehearsed.trainer.task
    rows = sum(state.numel() * state.element_size() for state in task.memory_per_sample()) // task.samples
    return Footprint(
        process=process,
        shared=shared,
        data=0 if sizes.where == "disk" else sizes.stored * sizes.pixels,
        images=image_bytes(spec, sizes, device),
        networks=networks + rows * sizes.train,
        step=max(0, step - networks),
        evaluation=evaluation,
        loading=2 * sizes.train * sizes.pixels if sizes.where == "device" else 0,
        # the usual step's; a pass's smaller last one runs by itself, in memory of its own
        recorded=max(0, step - networks) if way.graph else 0,
    )


def rehearse_training(spec: RunSpec, sizes: DataSizes) -> Rehearsal:
    """Train the spec's method in miniature; whatever goes wrong there, what was seen until then counts."""
    small = spec.model_copy(
        update={
            "model": MINIATURE_MODEL,
            "epochs": MINIATURE_EPOCHS,
            "learning_rate": 1e-3,
            "schedule": "constant",
            "augmentation": "none",
            "strong_augmentation": "none",
            "world_size": 1,
            # half precision has no step on a processor; bfloat16 takes the same memory
            "precision": "bf16" if spec.precision == "fp16" else spec.precision,
        }
    )
    rehearsed = Rehearsal(_miniature(small, sizes))
    observe_passes(rehearsed, spec)
    with suppress(Exception):
        for _ in rehearsed.trainer.epochs():
            pass
    return rehearsed


def _miniature(spec: RunSpec, sizes: DataSizes) -> Trainer:
    """A trainer on a few random images of the run's channels and classes."""
    samples, channels = max(64, 4 * sizes.classes), sizes.image_shape[2]
    generator = torch.Generator().manual_seed(0)
    shape = (samples, MINIATURE_SIDE, MINIATURE_SIDE, channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.arange(samples) % sizes.classes
    method = build_method(spec)
    privileges = {
        "noise_rate": 0.4,
        "transition_matrix": torch.full((sizes.classes,) * 2, 0.4 / (sizes.classes - 1)).fill_diagonal_(0.6),
        "clean_labels": labels,
    }
    store = ImageStore(images, [0.5] * channels, [0.25] * channels)
    few = max(sizes.classes, 16)
    held = ImageStore(images[:few], [0.5] * channels, [0.25] * channels)
    given = {name: privileges[name] for name in method.needs if name in privileges}
    return Trainer(method, spec, TrainingPart(store, labels, sizes.classes, held, labels[:few], given), CPU)


def observe_passes(rehearsed: Rehearsal, spec: RunSpec) -> None:
    """Note each pass that the method asks for, and each inference with an output of its own."""
    method, task = rehearsed.trainer.method, rehearsed.trainer.task
    passes, infer = method.passes, task.infer

    def noted(phase: Phase, epoch: int) -> Sequence[Pass]:
        found = passes(phase, epoch)
        for work in found:
            streams = tuple((name, each.batch, each.views, each.beside) for name, each in work.streams.items())
            kind = (phase.name, work.learn, streams)
            first = next(iter(work.streams.values()))
            draws = work.draws(Steps(1, first.batch or spec.batch_size), torch.Generator().manual_seed(0))
            rehearsed.last[kind] = ObservedStep(phase, epoch, work, draws)
            rehearsed.first.setdefault(kind, rehearsed.last[kind])
        return found

    def inferred(*given: Any, **named: Any) -> Tensor:
        output = named.get("output")
        if output is not None:
            called = getattr(output, "func", output)
            rehearsed.inferred[getattr(called, "__qualname__", called)] = ObservedInference(output, named.get("along"))
        return infer(*given, **named)

    method.passes = noted  # type: ignore[method-assign]
    task.infer = inferred  # type: ignore[method-assign]


def phase_bytes(
    trainer: Trainer, kinds: Sequence[ObservedStep], spec: RunSpec, sizes: DataSizes, mode: FakeTensorMode
) -> tuple[int, int]:
    """(most bytes at once during the steps of one phase, bytes that stay after them), its networks included."""
    trainer.updates.begin(kinds[0].phase)
    alive = LiveTensorBytes()
    for network in (*trainer.networks, *trainer.task.averages):
        for tensor in (*network.module.parameters(), *network.module.buffers()):
            alive.count(tensor)
    # in the second round the optimiser has its memory
    for seen in (*kinds, *kinds):
        for number, network in enumerate(trainer.networks):
            network.learn(number in seen.work.learn)
        draws = {name: mode.from_tensor(values)[0] for name, values in seen.draws.items()}
        take_fake_step(trainer, partial(fake_step, trainer, seen, draws, spec, sizes), alive)
    most, after = alive.peak, alive.now
    for network in trainer.networks:
        network.learn(True)
        for weight in network.weights:
            weight.grad = None
    return most, after


def evaluation_bytes(trainer: Trainer, sizes: DataSizes, device: str) -> int:
    """Most bytes at once while the method predicts a batch, beyond its networks."""
    alive = LiveTensorBytes()
    for network in trainer.networks:
        network.module.eval()
    with alive, torch.no_grad(), suppress(Exception):
        trainer.method.predict(trainer.networks, fake_images(inference_batch_images(sizes, device), sizes))
    return alive.peak


def image_bytes(spec: RunSpec, sizes: DataSizes, device: str) -> int:
    """Training part, hold-out and test set as they are kept: padded, mirrored, and normalised where they are small."""
    height, width, channels = sizes.image_shape
    weak, strong = build_augmentation(spec.augmentation), build_augmentation(spec.strong_augmentation)
    pad = max(weak.pad, strong.pad)
    padded = (height + 2 * pad) * (width + 2 * pad) * channels
    held = int(sizes.train * spec.hold_out)
    train = sizes.train - held
    normalised = [4 * part * sizes.pixels for part in (train, held, sizes.test)]
    copies = sum(each for each in normalised if each <= CACHE_BYTES)
    if sizes.where != "device":
        # a batch at a time, one in use and others on their way
        return (
            BATCHES_UNDER_WAY * max(spec.batch_size * padded, inference_batch_images(sizes, device) * sizes.pixels)
            + copies
        )
    flips = weak.flip is not None or strong.flip is not None
    mirrored = flips and worth_mirroring(train, (height, width), channels, pad, torch.device(device))
    return (2 if mirrored else 1) * train * padded + (held + sizes.test) * sizes.pixels + copies


@functools.cache
def process_bytes() -> tuple[int, int]:
    """(own, shared) bytes of this process at the first asking, when it holds the same libraries as a worker."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        found = {
            name: int(rest.split()[0]) * 1024
            for name, _, rest in (line.partition(":") for line in lines)
            if name.startswith("Rss")
        }
        return found["RssAnon"], found["RssFile"]
    except (OSError, KeyError, ValueError, IndexError):
        return TYPICAL_PROCESS, TYPICAL_SHARED
