"""The core's training step against the bare one: forward, loss, backward and update on a batch that lies ready."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from bench.models import build
from bench.perf.timing import Median, Seconds, device_waiter, median
from bench.registry import load_method
from bench.spec import RunSpec
from bench.training.augmentation import build_augmentation
from bench.training.images.image_sets import ImageSets
from bench.training.images.image_store import ImageStore
from bench.training.optimizers import clip_gradient_norm, make_optimizer
from bench.training.precision import Precision
from bench.training.trainer import Trainer, TrainingPart

CLASSES = 10
WARM_UP = 10
MOST_BATCHES = 391
"""Batches of the largest epoch that is timed: CIFAR's 50,000 images in batches of 128."""


@dataclass(frozen=True)
class Workload:
    """One network with the images (size x size x channels), batch, augmentation and precision it is timed with."""

    model: str
    size: int = 32
    channels: int = 3
    batch: int = 128
    augmentation: str = "crop4+flip"
    precision: str = "fp32"

    def spec(self, epochs: int = 1) -> RunSpec:
        """A run of cross-entropy under the shared protocol's optimiser."""
        return RunSpec(
            method="ce",
            data_set="random",
            data_sha256="0" * 64,
            noise="none",
            model=self.model,
            augmentation=self.augmentation,
            epochs=epochs,
            batch_size=self.batch,
            learning_rate=0.01,
            precision=self.precision,
        )

    def network(self, device: torch.device) -> nn.Module:
        """A fresh network in the core's memory format."""
        module: nn.Module = build(
            self.model, num_classes=CLASSES, in_chans=self.channels, image_size=(self.size, self.size), seed=0
        )
        return module.to(device=device).to(memory_format=torch.channels_last)

    def store(self, samples: int, device: torch.device) -> ImageStore:
        """Random images."""
        generator = torch.Generator().manual_seed(0)
        shape = (samples, self.size, self.size, self.channels)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).numpy()
        parts = ImageSets({"train": images}, [0.5] * self.channels, [0.25] * self.channels)
        store = parts.store("train", device, [build_augmentation(self.augmentation)])
        assert isinstance(store, ImageStore)  # which images on their device are
        return store

    def batch_of(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W), channels_last, and labels (B,), ready on the device."""
        shape = (self.batch, self.channels, self.size, self.size)
        images = torch.randn(shape, device=device).to(memory_format=torch.channels_last)
        return images, torch.randint(CLASSES, (self.batch,), device=device)


class BareStep:
    """One network's steps on one batch that lies ready; `clip` clips the gradient's norm as the protocol does."""

    def __init__(self, work: Workload, device: torch.device, clip: bool) -> None:
        spec = work.spec()
        self.network = work.network(device)
        self.images, self.labels = work.batch_of(device)
        self.precision = Precision(spec.precision, device)
        self.weights = list(self.network.parameters())
        self.clip = spec.gradient_clip if clip else None
        self.optimizer = make_optimizer(
            spec.optimizer, self.weights, spec.learning_rate, spec.weight_decay, spec.momentum, spec.nesterov
        )

    def __call__(self) -> None:
        with self.precision.autocast():
            logits: Tensor = self.network(self.images)
        loss = nn.functional.cross_entropy(logits.float(), self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.clip is not None:
            clip_gradient_norm(self.weights, self.clip)
        self.optimizer.step()


@dataclass
class Turns:
    """Handed to the core as `should_stop`, which its loop asks before every step: takes turns with other steps."""

    others: dict[str, Callable[[], None]]
    wait: Callable[[], None]
    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"core": []})

    def __call__(self) -> bool:
        self.wait()
        self.seconds["core"].append(time.perf_counter() - self.began)
        names = list(self.others)
        # none of the others always follows the core's
        turn = len(self.seconds["core"]) % len(names)
        for name in names[turn:] + names[:turn]:
            before = time.perf_counter()
            self.others[name]()
            self.wait()
            self.seconds.setdefault(name, []).append(time.perf_counter() - before)
        self.began = time.perf_counter()
        return False


@dataclass(frozen=True)
class StepTimes:
    """Seconds of each pair of steps: the core's, and others that took turns with it.

    `way`: how the core's were carried out; `compile_seconds`: what compiling and recording them took, once.
    """

    work: Workload
    seconds: dict[str, Seconds]
    way: str = "eager"
    compile_seconds: float = 0.0

    def over(self, name: str) -> Median:
        """The core's step over the step `name`, pair by pair."""
        return median(self.seconds["core"] / self.seconds[name])

    def milliseconds(self, name: str) -> float:
        """The median step."""
        return float(np.median(self.seconds[name])) * 1e3


def time_steps(
    work: Workload,
    pairs: int,
    device: torch.device,
    others: dict[str, Callable[[], None]] | None = None,
    steps: str = "eager",
) -> StepTimes:
    """Time `pairs` steps of the core's loop, each beside a bare step, a bare step with the clip, and `others`.

    The core's loop runs as it does in every run: gathering, augmenting, normalising, forward, the method's loss,
    backward, clip, update and running total; `steps` says how they are carried out (the others are eager). What ends
    with a turn is the step before it, so the others of that turn are its pair.
    """
    samples = min(pairs + WARM_UP, MOST_BATCHES) * work.batch
    epochs = -(-(pairs + WARM_UP) * work.batch // samples)
    store = work.store(samples, device)
    labels = torch.randint(CLASSES, (samples,), device=device)
    bare: dict[str, Callable[[], None]] = {
        "bare": BareStep(work, device, clip=False),
        "bare with clip": BareStep(work, device, clip=True),
    }
    turns = Turns(bare | (others or {}), device_waiter(device))
    part = TrainingPart(store, labels, CLASSES, store, labels)
    trainer = Trainer(load_method("ce")(), work.spec(epochs), part, device, turns, steps=steps)
    for _ in trainer.epochs():
        pass
    seconds = {name: np.array(values[WARM_UP:]) for name, values in turns.seconds.items()}
    return StepTimes(work, seconds, str(trainer.way), trainer.compile_seconds)
