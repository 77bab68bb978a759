"""The training loop that every method shares.

Read `Trainer.epochs` first: it is the whole training, one result per finished epoch. `_train_epoch` below it is one
epoch, pass by pass and step by step; `OptimizerStep` holds the arithmetic of a step, `BatchLoader` its batches, and
`MethodTask` what the method sees of the training part.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.models import build
from bench.models.timm_models import TimmModel
from bench.models.weights import WeightsFile
from bench.spec import RunSpec
from bench.training import seeds
from bench.training.acceleration import GraphRecorder, compile_clock, compile_networks
from bench.training.augmentation import build_augmentation
from bench.training.batch_loader import BatchLoader
from bench.training.distributed import SINGLE_PROCESS, LastVisits, ProcessGroup, StopVote
from bench.training.inference import release_memory
from bench.training.method_task import MethodTask, TrainingPart
from bench.training.networks import PassCounter, TrainedNetwork
from bench.training.oom_batch_search import explain_out_of_memory, search_largest_batch
from bench.training.optimizer_step import OptimizerStep
from bench.training.outcome import Diverged, Interrupted
from bench.training.precision import Precision
from bench.training.step import TrainingStep
from bench.training.step_modes import StepRecorder, StepRunner, choose_step_mode
from methods.interface import Method, Pass, Phase


@dataclass(frozen=True)
class EpochResult:
    """One finished epoch: its number in the whole run (from 1), its phase, and the mean training loss."""

    number: int
    phase: str
    last: bool
    train_loss: float


def never_stop() -> bool:
    """False: the answer where no signal can ask a run to stop."""
    return False


class Trainer:
    """Trains one method on one training part; iterate over `epochs()`. Networks of timm may start from `weights`."""

    def __init__(
        self,
        method: Method,
        spec: RunSpec,
        part: TrainingPart,
        device: torch.device,
        should_stop: Callable[[], bool] = never_stop,
        group: ProcessGroup = SINGLE_PROCESS,
        steps: str = "auto",
        weights: WeightsFile | None = None,
    ) -> None:
        self.method = method
        self.spec = spec
        self.part = part
        self.weights = weights
        self.device = device
        self.group = group
        self.precision = Precision(spec.precision, device)
        self.pass_counter = PassCounter()
        self.stop_vote = StopVote(group, device, should_stop)
        self.step_mode = choose_step_mode(steps, device, method, spec.precision, group)
        self.step_recorder: StepRecorder | None = GraphRecorder(device) if self.step_mode.graph else None
        self.seconds = self.compile_seconds = 0.0
        self.steps_done = self.steps_replayed = 0
        self._phase, self._epoch = 0, 0
        views = {"weak": spec.augmentation, "strong": spec.strong_augmentation}
        augmentations = {view: build_augmentation(name) for view, name in views.items()}
        self.networks = [self._build_network(number) for number in range(method.networks)]
        self.batch_loader = BatchLoader(
            part.images, part.labels, part.classes, augmentations, spec.batch_size, spec.seed, group
        )
        self.task = MethodTask(part, spec, self.networks, augmentations, group)
        method.start(self.task)
        self.phases = method.phases()
        self.task.close()
        self.optimizer_step = OptimizerStep(method, spec, self.networks, self.task, self.precision, group)

    @property
    def total_epochs(self) -> int:
        """Epochs over all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def epochs_done(self) -> int:
        """Epochs finished so far, over all phases."""
        return sum(phase.epochs for phase in self.phases[: self._phase]) + self._epoch

    def epochs(self) -> Iterator[EpochResult]:
        """Train, from the epoch that `load_state` set; yields after every epoch.

        Raises Diverged when an epoch's loss or the weights after it aren't finite, Interrupted once `should_stop()` is
        true.
        """
        while self._phase < len(self.phases):
            phase = self.phases[self._phase]
            if self.optimizer_step.optimizer is None:
                self._begin_phase(phase)
            while self._epoch < phase.epochs:
                try:
                    loss = self._timed_epoch(phase)
                except ValueError as error:  # of a method that checks its numbers, and may be the first to meet them
                    if self._weights_finite():
                        raise
                    raise Diverged(self.epochs_done + 1, str(error)) from error
                self._epoch += 1
                number = self.epochs_done
                yield EpochResult(number, phase.name, number == self.total_epochs, loss)
            self._phase, self._epoch = self._phase + 1, 0
            self.optimizer_step.end_phase()

    def _train_epoch(self, phase: Phase) -> float:
        """Train one epoch; returns the mean loss of its steps, a smaller last batch counting as much as the others."""
        self.optimizer_step.set_learning_rate(phase, self._epoch, self.step_mode.graph)
        self.task.epoch_key, self.task.inferences = (self._phase, self._epoch), 0
        loss_sum, steps = torch.zeros((), device=self.device), 0
        for number, training_pass in enumerate(self.method.passes(phase, self._epoch)):
            pass_key = (self._phase, self._epoch, number)
            last_visits = LastVisits(self.group, self.task.samples, self.device)
            for index, network in enumerate(self.networks):
                network.set_learning(index in training_pass.learn)
            self.stop_vote.start_pass()
            run_step = StepRunner(self.optimizer_step, self.pass_counter, self.step_recorder, self._compiled)
            largest_batch = partial(self._largest_batch_that_fits, run_step, phase, training_pass, pass_key)
            with explain_out_of_memory(self.full_batch, self.device, largest_batch):
                for step in self.batch_loader.steps(training_pass, self.networks, phase.name, pass_key):
                    if self.stop_vote():
                        raise Interrupted
                    loss_sum += run_step(step)
                    self.optimizer_step.update_averages(step.learn)
                    steps += 1
                    last_visits.record((batch.index for batch in step.streams.values()), steps)
            self.steps_replayed += run_step.replayed
            for network in self.networks:
                network.set_learning(True)
            # after the pass, so that the next one, and end_epoch(), start from the same values in every process
            self.group.merge_last_visited(self.task.memory_per_sample(), last_visits.last_step)
            self.group.broadcast([*self.task.other_memory(), *self._buffers()])
        # the epoch's first wait for the device, and before end_epoch(), which can't compute with infinite numbers
        mean = float(self.group.all_reduce(loss_sum)) / max(steps, 1)
        self.steps_done += steps
        if not math.isfinite(mean):
            raise Diverged(self.epochs_done + 1, f"the training loss is {mean}")
        if not self._weights_finite():
            raise Diverged(self.epochs_done + 1, "the weights are no longer finite numbers")
        self.method.end_epoch(phase, self._epoch)
        # every process takes what the main process refitted: a last bit may decide which samples are selected
        self.group.broadcast([*self.task.states.values()])
        return mean

    def train_step(self, step: TrainingStep) -> Tensor:
        """Take one step outside an epoch, after `optimizer_step.begin_phase`; returns its loss."""
        loss = self.optimizer_step(step)
        self.optimizer_step.update_averages(step.learn)
        return loss

    def _build_network(self, number: int) -> TrainedNetwork:
        """A network with its first weights; the same for every method, different for every number."""
        module = build(
            self.spec.model,
            num_classes=self.part.classes,
            in_chans=self.part.images.channels,
            image_size=self.part.images.size,
            seed=seeds.derive_seed(self.spec.seed, "initialisation", number),
        )
        if self.weights is not None and isinstance(module, TimmModel):
            self.weights.load_into(module.model, module.name.removeprefix("timm:"))
        if self.spec.sync_batch_norm:
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        module.to(self.device).to(memory_format=torch.channels_last)
        return TrainedNetwork(module, self.precision, self.pass_counter)

    def _begin_phase(self, phase: Phase) -> None:
        for number in phase.initialise:
            self.networks[number].module.load_state_dict(self._build_network(number).module.state_dict())
        for average in self.task.averages:
            if any(average.source is self.networks[number] for number in phase.initialise):
                average.restart()
        self.optimizer_step.begin_phase(phase)

    def _timed_epoch(self, phase: Phase) -> float:
        """One epoch's mean loss; the seconds of compiling and recording aren't counted as training."""
        began, preparing = time.perf_counter(), self._preparing_seconds()
        loss = self._train_epoch(phase)
        preparing = self._preparing_seconds() - preparing
        self.compile_seconds += preparing
        self.seconds += time.perf_counter() - began - preparing
        return loss

    def _preparing_seconds(self) -> float:
        """Seconds that this process has spent on compiling networks and recording steps."""
        recording = 0.0 if self.step_recorder is None else self.step_recorder.seconds
        return recording + (compile_clock().seconds if self.step_mode.compiled else 0.0)

    def _compiled(self) -> AbstractContextManager[object]:
        """The context of steps of the usual shape: compiled networks, if the step mode has them."""
        return compile_networks([*self.networks, *self.task.averages]) if self.step_mode.compiled else nullcontext()

    @property
    def full_batch(self) -> int:
        """Images of a full batch."""
        return min(self.spec.batch_size, self.task.samples)

    def _largest_batch_that_fits(
        self, run_step: StepRunner, phase: Phase, training_pass: Pass, pass_key: tuple[int, ...]
    ) -> int | None:
        """The largest batch whose step fits into memory, once one has failed; None where none is found."""
        if not self.group.is_single:
            return None  # the other processes are in the middle of a step, and take no part in a search
        run_step.drop_recording()
        try_batch = partial(self._try_batch, phase, training_pass, pass_key)
        return search_largest_batch(self.full_batch, self.device, try_batch)

    def _try_batch(self, phase: Phase, training_pass: Pass, pass_key: tuple[int, ...], batch: int) -> None:
        """Take a step of `batch` images with the run's own networks, whose training is over."""
        for network in self.networks:
            for weight in network.weights:
                weight.grad = None
        release_memory(self.device)
        loader = copy.copy(self.batch_loader)
        loader.batch_size = batch
        streams = {
            name: replace(stream, batch=stream.batch and max(1, stream.batch * batch // self.spec.batch_size))
            for name, stream in training_pass.streams.items()
        }
        smaller_pass = replace(training_pass, streams=streams)
        self.train_step(next(loader.steps(smaller_pass, self.networks, phase.name, pass_key)))

    @torch.no_grad()
    def _weights_finite(self) -> bool:
        """Whether every weight and learned value is a finite number."""
        weights = [weight for network in self.networks for weight in network.parameters()]
        learned = [learned.values for learned in self.task.learned.values()]
        return bool(torch.stack([values.sum() for values in (*weights, *learned)]).isfinite().all())

    def _buffers(self) -> list[Tensor]:
        """Batch statistics of networks and averages, which each process took over its own shard."""
        modules = [network.module for network in (*self.networks, *self.task.averages)]
        return [buffer for module in modules for buffer in module.buffers()]

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on: tensors, numbers and text only. Checkpoints have these keys."""
        return {
            "phase": self._phase,
            "epoch": self._epoch,
            "networks": [network.module.state_dict() for network in self.networks],
            "averages": [average.state() for average in self.task.averages],
            "states": dict(self.task.states),
            "learned": {name: learned.values.data for name, learned in self.task.learned.items()},
            "meter": [self.pass_counter.forward, self.pass_counter.backward],
            "seconds": self.seconds,
            "compile_seconds": self.compile_seconds,
            "steps": [self.steps_done, self.steps_replayed],
        } | self.optimizer_step.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned, in this process or another. Raises where it can't be this run's."""
        self._phase, self._epoch = state["phase"], state["epoch"]
        for network, weights in zip(self.networks, state["networks"], strict=True):
            network.module.load_state_dict(weights)
        for average, average_state in zip(self.task.averages, state["averages"], strict=True):
            average.load_state(average_state)
        with torch.no_grad():
            for name, values in state["states"].items():
                self.task.states[name].copy_(values)
            for name, values in state["learned"].items():
                self.task.learned[name].values.copy_(values)
        if not self._weights_finite():
            raise ValueError("a weight isn't a finite number")
        self.optimizer_step.load_state(state, self.phases[self._phase] if self._phase < len(self.phases) else None)
        self.pass_counter.forward, self.pass_counter.backward = state["meter"]
        self.seconds, self.compile_seconds = state["seconds"], state["compile_seconds"]
        self.steps_done, self.steps_replayed = state["steps"]
