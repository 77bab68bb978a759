"""The loop that every method shares. Read `epochs` first: it is the whole training, one item per finished epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.core import seeds
from bench.core.augment import pipeline
from bench.core.batches import CoreStep, Feeder
from bench.core.compiling import compile_clock, compiled
from bench.core.fitting import Fitting
from bench.core.graphs import GraphRecorder
from bench.core.images import Images
from bench.core.networks import CoreNetwork, Meter
from bench.core.optimizers import allow_recording, clip_gradient, forget_gradients, make_optimizer, take_step
from bench.core.precision import Precision
from bench.core.ranks import ALONE, Ranks, Visits, Vote
from bench.core.schedules import learning_rate
from bench.core.stepping import Recorder, Stepper, choose_way
from bench.core.task import CoreTask
from bench.job import Diverged, Interrupted
from bench.models import build
from bench.spec import RunSpec
from methods.interface import Method, Phase


@dataclass(frozen=True)
class TrainingPart:
    """What training may see: images, noisy labels int64 (n,), the hold-out's, and what the method declared to need."""

    images: Images
    labels: Tensor
    classes: int
    held_images: Images
    held_labels: Tensor
    privileges: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochDone:
    """One finished epoch: its number in the whole run (from 1), its phase, and the mean training loss."""

    number: int
    phase: str
    last: bool
    train_loss: float


def never() -> bool:
    """Nobody asks to stop."""
    return False


def has_gradient(optimizer: torch.optim.Optimizer) -> bool:
    """Whether any of an optimiser's parameters has a gradient."""
    return any(weight.grad is not None for group in optimizer.param_groups for weight in group["params"])


class Trainer:
    """One method on one training part; iterate over `epochs()` to train."""

    def __init__(
        self,
        method: Method,
        spec: RunSpec,
        part: TrainingPart,
        device: torch.device,
        should_stop: Callable[[], bool] = never,
        ranks: Ranks = ALONE,
        steps: str = "auto",
    ) -> None:
        self.ranks = ranks
        self.method = method
        self.spec = spec
        self.part = part
        self.device = device
        self.stop = Vote(ranks, device, should_stop)
        self.precision = Precision(spec.precision, device)
        self.meter = Meter()
        self.way = choose_way(steps, device, method, spec.precision, ranks)
        self.recorder: Recorder | None = GraphRecorder(device) if self.way.graph else None
        self.seconds = 0.0
        self.compile_seconds = 0.0
        self.steps_done = 0
        self.steps_replayed = 0
        self._shape = (part.images.size, part.images.channels)
        self._classes = part.classes
        self.networks = [self._network(number) for number in range(method.networks)]
        augmentations = {"weak": pipeline(spec.augmentation), "strong": pipeline(spec.strong_augmentation)}
        self.feeder = Feeder(part.images, part.labels, part.classes, augmentations, spec.batch_size, spec.seed, ranks)
        self.task = CoreTask(
            part.images,
            part.labels,
            part.held_images,
            part.held_labels,
            part.classes,
            spec.epochs,
            spec.batch_size,
            part.privileges,
            self.networks,
            augmentations,
            spec.seed,
            ranks,
        )
        method.start(self.task)
        self.phases = method.phases()
        self.task.close()
        self.scaler = self.precision.scaler()
        self._phase, self._epoch = 0, 0
        self._optimizer: torch.optim.Optimizer | None = None
        self._learned_optimizer: torch.optim.Optimizer | None = None
        if self.task.learned:
            groups = [
                {"params": [learned.values], "lr": learned.learning_rate, "momentum": learned.momentum}
                for learned in self.task.learned.values()
            ]
            self._learned_optimizer = torch.optim.SGD(groups, fused=True)

    @property
    def total_epochs(self) -> int:
        """Epochs over all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def epochs_done(self) -> int:
        """Epochs finished so far, over all phases."""
        return sum(phase.epochs for phase in self.phases[: self._phase]) + self._epoch

    def epochs(self) -> Iterator[EpochDone]:
        """Train, from wherever `load_state` left off; yields after every epoch.

        Raises Diverged when an epoch's loss or the weights after it aren't finite, Interrupted when `should_stop()`
        comes true.
        """
        while self._phase < len(self.phases):
            phase = self.phases[self._phase]
            if self._optimizer is None:
                self._begin(phase)
            while self._epoch < phase.epochs:
                loss = self._timed_epoch(phase)
                self._epoch += 1
                done = self.epochs_done
                yield EpochDone(done, phase.name, done == self.total_epochs, loss)
            self._phase, self._epoch, self._optimizer = self._phase + 1, 0, None

    def prepare(self, phase: Phase) -> None:
        """Make the optimiser of `phase`, for whoever takes steps one by one with `train_step`."""
        self._optimizer = self._make_optimizer(phase)

    def _network(self, number: int) -> CoreNetwork:
        """A network with its first weights; the same for every method, different for every number."""
        size, channels = self._shape
        module = build(
            self.spec.model,
            num_classes=self._classes,
            in_chans=channels,
            image_size=size,
            seed=seeds.derive(self.spec.seed, "initialisation", number),
        )
        if self.spec.sync_batch_norm:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        module.to(self.device).to(memory_format=torch.channels_last)
        return CoreNetwork(module, self.precision, self.meter)

    def _begin(self, phase: Phase) -> None:
        for number in phase.initialise:
            self.networks[number].module.load_state_dict(self._network(number).module.state_dict())
        for average in self.task.averages:
            if any(average.of is self.networks[number] for number in phase.initialise):
                average.restart()
        self._optimizer = self._make_optimizer(phase)

    def _make_optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        numbers = range(len(self.networks)) if phase.trainable is None else phase.trainable
        settings = self._settings(phase)
        return make_optimizer(
            settings["optimizer"],
            [weight for number in numbers for weight in self.networks[number].parameters()],
            settings["learning_rate"],
            settings["weight_decay"],
            settings["momentum"],
            settings["nesterov"],
        )

    def _settings(self, phase: Phase) -> dict[str, Any]:
        """The optimiser's settings in one phase: the run's, unless the phase names its own."""
        names = ("optimizer", "learning_rate", "weight_decay", "momentum", "nesterov", "schedule")
        if unknown := sorted(set(phase.optimizer) - set(names)):
            raise ValueError(f"phase {phase.name!r} sets {', '.join(unknown)}; a phase may set: {', '.join(names)}")
        return {name: getattr(self.spec, name) for name in names} | dict(phase.optimizer)

    def _timed_epoch(self, phase: Phase) -> float:
        """One epoch's mean loss; what compiling and recording took isn't training."""
        began, aside = time.perf_counter(), self._seconds_aside()
        loss = self._train_epoch(phase)
        aside = self._seconds_aside() - aside
        self.compile_seconds += aside
        self.seconds += time.perf_counter() - began - aside
        return loss

    def _seconds_aside(self) -> float:
        """Seconds of this process that went into compiling networks and recording steps."""
        recording = 0.0 if self.recorder is None else self.recorder.seconds
        return recording + (compile_clock().seconds if self.way.compiled else 0.0)

    def _usually(self) -> AbstractContextManager[object]:
        """What steps of the usual shape run under."""
        return compiled([*self.networks, *self.task.averages]) if self.way.compiled else nullcontext()

    def _train_epoch(self, phase: Phase) -> float:
        """One epoch; the mean of its steps' losses, a last smaller batch counting as much as the others."""
        assert self._optimizer is not None
        settings = self._settings(phase)
        rate = learning_rate(settings["schedule"], settings["learning_rate"], self._epoch, phase.epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        allow_recording(self._optimizer, self.way.graph)
        self.task.where, self.task.inferences = (self._phase, self._epoch), 0
        total, steps = torch.zeros((), device=self.device), 0
        for number, work in enumerate(self.method.passes(phase, self._epoch)):
            visits = Visits(self.ranks, self.task.samples, self.device)
            for index, network in enumerate(self.networks):
                network.learn(index in work.learn)
            self.stop.begin()
            carry_out = Stepper(self._update, self.meter, self.recorder, self._usually)
            where = (self._phase, self._epoch, number)
            with Fitting(self, carry_out, phase, work, where):
                for step in self.feeder.steps(work, self.networks, phase.name, where):
                    if self.stop():
                        raise Interrupted
                    total += carry_out(step)
                    # not recorded: how far an average moves depends on how often it has
                    self._move_averages(step.learn)
                    steps += 1
                    visits.note(step.streams.values(), steps)
            self.steps_replayed += carry_out.replayed
            for network in self.networks:
                network.learn(True)
            self.ranks.merge(self.task.memory_per_sample(), visits.last)
            self.ranks.lead([*self.task.other_memory(), *self._buffers()])
        # the epoch's first wait for the device, before end_epoch() meets numbers that it can't work with
        mean = float(self.ranks.sum(total)) / max(steps, 1)
        self.steps_done += steps
        if not math.isfinite(mean):
            raise Diverged(self.epochs_done + 1, f"the training loss is {mean}")
        if not self._weights_finite():
            raise Diverged(self.epochs_done + 1, "the weights are no longer finite numbers")
        self.method.end_epoch(phase, self._epoch)
        # what was refitted is the first process's everywhere: a last bit may decide what is selected
        self.ranks.lead([*self.task.states.values()])
        return mean

    @torch.no_grad()
    def _weights_finite(self) -> bool:
        """Whether every weight and learned value is a finite number."""
        weights = [weight for network in self.networks for weight in network.parameters()]
        learned = [learned.values for learned in self.task.learned.values()]
        return bool(torch.stack([values.sum() for values in (*weights, *learned)]).isfinite().all())

    def _update(self, step: CoreStep) -> Tensor:
        """One forward, backward and update; returns the loss, detached, still on the device.

        Recorded, it is played again without Python: it may count and decide nothing on the host, but for the meter.
        """
        assert self._optimizer is not None
        loss = self.method.loss(step)
        if not self.ranks.alone:
            loss = loss * step.share
        optimizers = [self._optimizer]
        if self._learned_optimizer is not None:
            optimizers.append(self._learned_optimizer)
        for optimizer in optimizers:
            forget_gradients(optimizer)
        if self.scaler.is_enabled():
            torch.autograd.backward(self.scaler.scale(loss))
            self._sum_gradients(step.learn)
            # the scaler refuses an optimiser without a single gradient, such as that of values the loss didn't use
            moving = [optimizer for optimizer in optimizers if has_gradient(optimizer)]
            for optimizer in moving:
                self.scaler.unscale_(optimizer)
            self._clip(step.learn)
            for optimizer in moving:
                self.scaler.step(optimizer)
            self.scaler.update()
        else:
            torch.autograd.backward(loss)
            self._sum_gradients(step.learn)
            self._clip(step.learn)
            for optimizer in optimizers:
                take_step(optimizer)
        return loss.detach()

    def train_step(self, step: CoreStep) -> Tensor:
        """One step by itself, after `prepare`; its loss."""
        loss = self._update(step)
        self._move_averages(step.learn)
        return loss

    def _move_averages(self, learn: tuple[int, ...]) -> None:
        """Averages of the networks that have just learned take their step."""
        for average in self.task.averages:
            if any(average.of is self.networks[number] for number in learn):
                average.update()

    def _sum_gradients(self, learn: tuple[int, ...]) -> None:
        """Every process's gradient of what all of them share; a sample's own rows have theirs in one process."""
        if not self.ranks.alone:
            weights = [weight for number in learn for weight in self.networks[number].weights]
            shared = [learned.values for learned in self.task.learned.values() if not learned.per_sample]
            self.ranks.sum_gradients([*weights, *shared])

    def _buffers(self) -> list[Tensor]:
        """Batch statistics of networks and averages, which each process took over its own share."""
        modules = [network.module for network in (*self.networks, *self.task.averages)]
        return [buffer for module in modules for buffer in module.buffers()]

    def _clip(self, learn: tuple[int, ...]) -> None:
        """Clip each network's gradient by its own norm, so that members of an ensemble train as they would alone."""
        if self.spec.gradient_clip is None:
            return
        for number in learn:
            clip_gradient(self.networks[number].weights, self.spec.gradient_clip)

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on: tensors, numbers and text only."""
        return {
            "phase": self._phase,
            "epoch": self._epoch,
            "networks": [network.module.state_dict() for network in self.networks],
            "optimizer": None if self._optimizer is None else self._optimizer.state_dict(),
            "averages": [average.state() for average in self.task.averages],
            "states": dict(self.task.states),
            "learned": {name: learned.values.data for name, learned in self.task.learned.items()},
            "learned_optimizer": None if self._learned_optimizer is None else self._learned_optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "meter": [self.meter.forward, self.meter.backward],
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
            "steps": [self.steps_done, self.steps_replayed],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned, in this process or another."""
        self._phase, self._epoch = state["phase"], state["epoch"]
        for network, weights in zip(self.networks, state["networks"], strict=True):
            network.module.load_state_dict(weights)
        for average, saved in zip(self.task.averages, state["averages"], strict=True):
            average.load_state(saved)
        with torch.no_grad():
            for name, values in state["states"].items():
                self.task.states[name].copy_(values)
            for name, values in state["learned"].items():
                self.task.learned[name].values.copy_(values)
        if self._learned_optimizer is not None:
            self._learned_optimizer.load_state_dict(state["learned_optimizer"])
        if state["optimizer"] is not None:
            self._optimizer = self._make_optimizer(self.phases[self._phase])
            self._optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.meter.forward, self.meter.backward = state["meter"]
        self.seconds = state["seconds"]
        self.compile_seconds = state["compile_seconds"]
        self.steps_done, self.steps_replayed = state["steps"]
