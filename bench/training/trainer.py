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

from bench.models import build
from bench.spec import RunSpec
from bench.training import seeds
from bench.training.acceleration import GraphRecorder, compile_clock, compile_networks
from bench.training.augmentation import build_augmentation
from bench.training.batch_loader import BatchLoader
from bench.training.distributed import SINGLE_PROCESS, LastVisits, ProcessGroup, StopVote
from bench.training.images.image_store import Images
from bench.training.method_task import MethodTask
from bench.training.networks import PassCounter, TrainedNetwork
from bench.training.oom_batch_search import OutOfMemoryGuard
from bench.training.optimizer_step import OptimizerStep
from bench.training.outcome import Diverged, Interrupted
from bench.training.precision import Precision
from bench.training.step import TrainingStep
from bench.training.step_modes import StepRecorder, StepRunner, choose_step_mode
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


def never_stop() -> bool:
    """Nobody asks to stop."""
    return False


class Trainer:
    """One method on one training part; iterate over `epochs()` to train."""

    def __init__(
        self,
        method: Method,
        spec: RunSpec,
        part: TrainingPart,
        device: torch.device,
        should_stop: Callable[[], bool] = never_stop,
        ranks: ProcessGroup = SINGLE_PROCESS,
        steps: str = "auto",
    ) -> None:
        self.ranks = ranks
        self.method = method
        self.spec = spec
        self.part = part
        self.device = device
        self.stop = StopVote(ranks, device, should_stop)
        self.precision = Precision(spec.precision, device)
        self.meter = PassCounter()
        self.way = choose_step_mode(steps, device, method, spec.precision, ranks)
        self.recorder: StepRecorder | None = GraphRecorder(device) if self.way.graph else None
        self.seconds = 0.0
        self.compile_seconds = 0.0
        self.steps_done = 0
        self.steps_replayed = 0
        self._shape = (part.images.size, part.images.channels)
        self._classes = part.classes
        self.networks = [self._network(number) for number in range(method.networks)]
        augmentations = {
            "weak": build_augmentation(spec.augmentation),
            "strong": build_augmentation(spec.strong_augmentation),
        }
        self.feeder = BatchLoader(
            part.images, part.labels, part.classes, augmentations, spec.batch_size, spec.seed, ranks
        )
        self.task = MethodTask(
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
        self.updates = OptimizerStep(method, spec, self.networks, self.task, self.precision, ranks)
        self._phase, self._epoch = 0, 0

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
            if self.updates.optimizer is None:
                self._begin(phase)
            while self._epoch < phase.epochs:
                loss = self._timed_epoch(phase)
                self._epoch += 1
                done = self.epochs_done
                yield EpochDone(done, phase.name, done == self.total_epochs, loss)
            self._phase, self._epoch = self._phase + 1, 0
            self.updates.end()

    def _network(self, number: int) -> TrainedNetwork:
        """A network with its first weights; the same for every method, different for every number."""
        size, channels = self._shape
        module = build(
            self.spec.model,
            num_classes=self._classes,
            in_chans=channels,
            image_size=size,
            seed=seeds.derive_seed(self.spec.seed, "initialisation", number),
        )
        if self.spec.sync_batch_norm:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        module.to(self.device).to(memory_format=torch.channels_last)
        return TrainedNetwork(module, self.precision, self.meter)

    def _begin(self, phase: Phase) -> None:
        for number in phase.initialise:
            self.networks[number].module.load_state_dict(self._network(number).module.state_dict())
        for average in self.task.averages:
            if any(average.of is self.networks[number] for number in phase.initialise):
                average.restart()
        self.updates.begin(phase)

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
        return compile_networks([*self.networks, *self.task.averages]) if self.way.compiled else nullcontext()

    def _train_epoch(self, phase: Phase) -> float:
        """One epoch; the mean of its steps' losses, a last smaller batch counting as much as the others."""
        self.updates.rate_for(phase, self._epoch, self.way.graph)
        self.task.where, self.task.inferences = (self._phase, self._epoch), 0
        total, steps = torch.zeros((), device=self.device), 0
        for number, work in enumerate(self.method.passes(phase, self._epoch)):
            visits = LastVisits(self.ranks, self.task.samples, self.device)
            for index, network in enumerate(self.networks):
                network.learn(index in work.learn)
            self.stop.begin()
            carry_out = StepRunner(self.updates, self.meter, self.recorder, self._usually)
            where = (self._phase, self._epoch, number)
            with OutOfMemoryGuard(self, carry_out, phase, work, where):
                for step in self.feeder.steps(work, self.networks, phase.name, where):
                    if self.stop():
                        raise Interrupted
                    total += carry_out(step)
                    self.updates.move_averages(step.learn)
                    steps += 1
                    visits.note((batch.index for batch in step.streams.values()), steps)
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

    def train_step(self, step: TrainingStep) -> Tensor:
        """One step by itself, after `updates.begin`; its loss."""
        loss = self.updates(step)
        self.updates.move_averages(step.learn)
        return loss

    def _buffers(self) -> list[Tensor]:
        """Batch statistics of networks and averages, which each process took over its own share."""
        modules = [network.module for network in (*self.networks, *self.task.averages)]
        return [buffer for module in modules for buffer in module.buffers()]

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on: tensors, numbers and text only."""
        return {
            "phase": self._phase,
            "epoch": self._epoch,
            "networks": [network.module.state_dict() for network in self.networks],
            "averages": [average.state() for average in self.task.averages],
            "states": dict(self.task.states),
            "learned": {name: learned.values.data for name, learned in self.task.learned.items()},
            "meter": [self.meter.forward, self.meter.backward],
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
            "steps": [self.steps_done, self.steps_replayed],
        } | self.updates.state()

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
        self.updates.load_state(state, self.phases[self._phase] if self._phase < len(self.phases) else None)
        self.meter.forward, self.meter.backward = state["meter"]
        self.seconds = state["seconds"]
        self.compile_seconds = state["compile_seconds"]
        self.steps_done, self.steps_replayed = state["steps"]
