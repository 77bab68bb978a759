"""What a step does to the weights: loss, backward, the gradients of all processes, clip, optimisers, averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.spec import RunSpec
from bench.spec.schedules import learning_rate_at
from bench.training.distributed import ProcessGroup
from bench.training.method_task import MethodTask
from bench.training.networks import TrainedNetwork
from bench.training.optimizers import (
    allow_recording,
    clip_gradient_norm,
    forget_gradients,
    make_optimizer,
    step_optimizer,
)
from bench.training.precision import Precision
from bench.training.step import TrainingStep
from methods.interface import Method, Phase

SETTINGS = ("optimizer", "learning_rate", "weight_decay", "momentum", "nesterov", "schedule")
"""What a phase may set of its own."""


def has_gradient(optimizer: torch.optim.Optimizer) -> bool:
    """Whether any of an optimiser's parameters has a gradient."""
    return any(weight.grad is not None for group in optimizer.param_groups for weight in group["params"])


class OptimizerStep:
    """The updates of one run, a phase at a time: `begin` one, set `rate_for` each epoch, then call it with every step.

    The method has started with `task`, whose learned values keep one optimiser of their own through all phases.
    """

    def __init__(
        self,
        method: Method,
        spec: RunSpec,
        networks: Sequence[TrainedNetwork],
        task: MethodTask,
        precision: Precision,
        ranks: ProcessGroup,
    ) -> None:
        self.method, self.spec, self.networks, self.task, self.ranks = method, spec, networks, task, ranks
        self.scaler = precision.scaler()
        self.optimizer: torch.optim.Optimizer | None = None
        self._learned_optimizer: torch.optim.Optimizer | None = None
        if task.learned:
            groups = [
                {"params": [learned.values], "lr": learned.learning_rate, "momentum": learned.momentum}
                for learned in task.learned.values()
            ]
            self._learned_optimizer = torch.optim.SGD(groups, fused=True)

    def begin(self, phase: Phase) -> None:
        """Make the optimiser of `phase`. Raises ValueError where it sets what a phase can't."""
        numbers = range(len(self.networks)) if phase.trainable is None else phase.trainable
        settings = self._settings(phase)
        self.optimizer = make_optimizer(
            settings["optimizer"],
            [weight for number in numbers for weight in self.networks[number].parameters()],
            settings["learning_rate"],
            settings["weight_decay"],
            settings["momentum"],
            settings["nesterov"],
        )

    def end(self) -> None:
        """Let go of the phase's optimiser."""
        self.optimizer = None

    def rate_for(self, phase: Phase, epoch: int, recorded: bool) -> None:
        """Set the learning rate of an epoch of `phase`, from 0, whose steps are `recorded` as a CUDA graph or not."""
        assert self.optimizer is not None
        settings = self._settings(phase)
        rate = learning_rate_at(settings["schedule"], settings["learning_rate"], epoch, phase.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        allow_recording(self.optimizer, recorded)

    def _settings(self, phase: Phase) -> dict[str, Any]:
        """The optimiser's settings in one phase: the run's, unless the phase names its own."""
        if unknown := sorted(set(phase.optimizer) - set(SETTINGS)):
            raise ValueError(f"phase {phase.name!r} sets {', '.join(unknown)}; a phase may set: {', '.join(SETTINGS)}")
        return {name: getattr(self.spec, name) for name in SETTINGS} | dict(phase.optimizer)

    def __call__(self, step: TrainingStep) -> Tensor:
        """One forward, backward and update; returns the loss, detached, still on the device.

        Recorded, it is played again without Python: it may count and decide nothing on the host, but for the meter.
        Averages are moved apart, by `move_averages`.
        """
        assert self.optimizer is not None
        loss = self.method.loss(step)
        if not self.ranks.alone:
            loss = loss * step.share
        optimizers = [self.optimizer]
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
                step_optimizer(optimizer)
        return loss.detach()

    def move_averages(self, learn: tuple[int, ...]) -> None:
        """Averages of the networks that have just learned take their step.

        Never recorded: how far an average moves depends on how often it has.
        """
        for average in self.task.averages:
            if any(average.of is self.networks[number] for number in learn):
                average.update()

    def _sum_gradients(self, learn: tuple[int, ...]) -> None:
        """Every process's gradient of what all of them share; a sample's own rows have theirs in one process."""
        if not self.ranks.alone:
            weights = [weight for number in learn for weight in self.networks[number].weights]
            shared = [learned.values for learned in self.task.learned.values() if not learned.per_sample]
            self.ranks.sum_gradients([*weights, *shared])

    def _clip(self, learn: tuple[int, ...]) -> None:
        """Clip each network's gradient by its own norm, so that members of an ensemble train as they would alone."""
        if self.spec.gradient_clip is None:
            return
        for number in learn:
            clip_gradient_norm(self.networks[number].weights, self.spec.gradient_clip)

    def state(self) -> dict[str, Any]:
        """What the next update depends on beside weights, averages and learned values."""
        return {
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "learned_optimizer": None if self._learned_optimizer is None else self._learned_optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any], phase: Phase | None) -> None:
        """Continue from what `state` returned, in `phase` where one had begun."""
        if self._learned_optimizer is not None:
            self._learned_optimizer.load_state_dict(state["learned_optimizer"])
        if state["optimizer"] is not None and phase is not None:
            self.begin(phase)
            assert self.optimizer is not None
            self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
