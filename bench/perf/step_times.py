"""The core's training step against a bare one: forward, loss, backward and update on a batch that is ready.

`time_steps` trains with the core's own loop; `AlternatingSteps` takes its turns from inside that loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from bench.models import build
from bench.perf.timing import Median, Seconds, device_waiter, median
from bench.registry import load_method
from bench.spec import RunSpec
from bench.training.augmentation import padding_and_flips
from bench.training.images.image_sets import ImageSets
from bench.training.images.image_store import ImageStore
from bench.training.method_task import TrainingPart
from bench.training.optimizers import clip_gradient_norm, make_optimizer
from bench.training.outcome import Interrupted
from bench.training.precision import Precision
from bench.training.trainer import Trainer

CLASSES = 10
WARM_UP = 10
FEWEST_PAIRS = 6
MOST_BATCHES = 391
"""Batches of the largest epoch that is timed: CIFAR's 50,000 images in batches of 128."""


@dataclass(frozen=True)
class Workload:
    """A network to time, with its images (size x size x channels), batch, augmentation and precision.

    With `views` the samples are vectors of `channels` numbers in as many views, and `size` is 1.
    """

    model: str
    size: int = 32
    channels: int = 3
    batch: int = 128
    augmentation: str = "crop4+flip"
    precision: str = "fp32"
    views: int = 0

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

    def build_network(self, device: torch.device) -> nn.Module:
        """A fresh network in the core's memory format."""
        module: nn.Module = build(
            self.model, num_classes=CLASSES, in_chans=self.channels, image_size=(self.size, self.size), seed=0
        )
        return module.to(device=device).to(memory_format=torch.channels_last)

    def store(self, samples: int, device: torch.device) -> ImageStore:
        """Random images, or vectors."""
        generator = torch.Generator().manual_seed(0)
        if self.views:
            images = torch.rand((samples, self.views, self.channels), generator=generator).half().numpy()
        else:
            shape = (samples, self.size, self.size, self.channels)
            images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).numpy()
        parts = ImageSets({"train": images}, [0.5] * self.channels, [0.25] * self.channels)
        store = parts.store("train", device, *padding_and_flips(self.augmentation))
        assert isinstance(store, ImageStore)  # images on their device are
        return store

    def batch_of(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Normalised images (B, C, H, W), channels_last, and labels (B,), ready on the device."""
        shape = (self.batch, self.channels, self.size, self.size)
        images = torch.randn(shape, device=device).to(memory_format=torch.channels_last)
        return images, torch.randint(CLASSES, (self.batch,), device=device)


class BareStep:
    """Steps of one network on one ready batch; `clip`: the gradient's norm is clipped as the protocol does."""

    def __init__(self, workload: Workload, device: torch.device, clip: bool) -> None:
        spec = workload.spec()
        self.network = workload.build_network(device)
        self.images, self.labels = workload.batch_of(device)
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
class AlternatingSteps:
    """The core's `should_stop`, which its loop calls before every step: it takes the other steps at that moment.

    It is true after `limit` seconds, but not before `least` turns. `report` hears the number of turns after each.
    """

    others: dict[str, Callable[[], None]]
    wait: Callable[[], None]
    limit: float = math.inf
    least: int = 0
    report: Callable[[int], None] = lambda turns: None
    deadline: float | None = None
    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"core": []})

    def __call__(self) -> bool:
        self.wait()
        self.seconds["core"].append(time.perf_counter() - self.began)
        names = list(self.others)
        # rotate, so that the step after the core's isn't always the same one
        turn = len(self.seconds["core"]) % len(names)
        for name in names[turn:] + names[:turn]:
            before = time.perf_counter()
            self.others[name]()
            self.wait()
            self.seconds.setdefault(name, []).append(time.perf_counter() - before)
        self.report(len(self.seconds["core"]))
        self.began = time.perf_counter()
        if self.deadline is None:
            self.deadline = self.began + self.limit
        return self.began > self.deadline and len(self.seconds["core"]) >= self.least


@dataclass(frozen=True)
class StepTimes:
    """Seconds of each step of the core, and of the others that took turns with it.

    `step_mode`: that of the core's steps; `compile_seconds`: time of compiling and recording them, once.
    """

    workload: Workload
    seconds: dict[str, Seconds]
    step_mode: str = "eager"
    compile_seconds: float = 0.0

    def over(self, name: str) -> Median:
        """The core's step over the step `name`, pair by pair."""
        return median(self.seconds["core"] / self.seconds[name])

    def milliseconds(self, name: str) -> float:
        """The median step."""
        return float(np.median(self.seconds[name])) * 1e3


def time_steps(
    workload: Workload,
    pairs: int,
    device: torch.device,
    steps: str = "eager",
    limit: float = math.inf,
    report: Callable[[int], None] = lambda turns: None,
) -> StepTimes:
    """Time `pairs` steps of the core's loop, each beside a bare step and a bare step with the clip.

    After `limit` seconds there are fewer pairs, but never under FEWEST_PAIRS. `report` hears the number of turns.
    The core's loop runs as it does in every run: gathering, augmenting, normalising, forward, the method's loss,
    backward, clip, update and running total; `steps` is its step mode (the others are eager). A turn ends the core's
    step before it, so the others of that turn are its pair.
    """
    samples = min(pairs + WARM_UP, MOST_BATCHES) * workload.batch
    epochs = -(-(pairs + WARM_UP) * workload.batch // samples)
    store = workload.store(samples, device)
    labels = torch.randint(CLASSES, (samples,), device=device)
    bare = {name: BareStep(workload, device, clip) for name, clip in (("bare", False), ("bare with clip", True))}
    least = WARM_UP + min(pairs, FEWEST_PAIRS)
    turns = AlternatingSteps({**bare}, device_waiter(device), limit, least, report)
    part = TrainingPart(store, labels, CLASSES, store, labels)
    trainer = Trainer(load_method("ce")(), workload.spec(epochs), part, device, turns, steps=steps)
    with suppress(Interrupted):  # the limit
        for _ in trainer.epochs():
            pass
    seconds = {name: np.array(values[WARM_UP:]) for name, values in turns.seconds.items()}
    return StepTimes(workload, seconds, str(trainer.step_mode), trainer.compile_seconds)
