"""One optimiser step: loss, backward pass, sum of gradients over the processes, clipping, update.

Read `OptimizerStep.__call__` first: it is the arithmetic of every training step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.spec import RunSpec
from bench.spec.schedules import learning_rate_at, momentum_at
from bench.training.distributed import ProcessGroup
from bench.training.method_task import LearnedTensor, MethodTask
from bench.training.networks import TrainedNetwork
from bench.training.optimizers import (
    allow_recording,
    clear_gradients,
    clip_gradient_norm,
    load_optimizer_state,
    make_optimizer,
    set_momentum,
    step_optimizer,
)
from bench.training.precision import Precision
from bench.training.step import TrainingStep
from methods.interface import Method, Phase

SETTINGS = ("optimizer", "learning_rate", "weight_decay", "momentum", "nesterov", "schedule")
"""Fields of the spec that a phase may set to its own values."""
LEARNED_KEYS = {"sgd": "learned_optimizer", "adam": "learned_adam"}
"""Where a checkpoint holds the optimisers of learned tensors; the first key is older than the choice."""
LEARNED_OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
}


def learned_group(learned: LearnedTensor) -> dict[str, Any]:
    """A learned tensor as a group of its optimiser."""
    rates: dict[str, Any] = {"params": [learned.values], "lr": learned.learning_rate}
    if learned.optimizer == "adam":
        return rates | {"betas": (learned.momentum, 0.999)}
    return rates | {"momentum": learned.momentum}


def has_gradient(optimizer: torch.optim.Optimizer) -> bool:
    """Whether any of an optimiser's parameters has a gradient."""
    return any(weight.grad is not None for group in optimizer.param_groups for weight in group["params"])


class OptimizerStep:
    """The updates of one run: `begin_phase`, then `set_learning_rate` for each epoch, then a call with every step.

    The method has started with `task`; its learned tensors keep optimisers of their own through all phases.
    """

    def __init__(
        self,
        method: Method,
        spec: RunSpec,
        networks: Sequence[TrainedNetwork],
        task: MethodTask,
        precision: Precision,
        group: ProcessGroup,
    ) -> None:
        self.method, self.spec, self.networks, self.task, self.group = method, spec, networks, task, group
        self.scaler = precision.scaler()
        self.optimizer: torch.optim.Optimizer | None = None
        self._learned_optimizers: dict[str, torch.optim.Optimizer] = {
            name: LEARNED_OPTIMIZERS[name]([learned_group(learned) for learned in self._learned_by(name)], fused=True)
            for name in dict.fromkeys(learned.optimizer for learned in task.learned.values())
        }

    def begin_phase(self, phase: Phase) -> None:
        """Make the optimiser of `phase`. Raises ValueError where the phase sets something that a phase can't."""
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

    def end_phase(self) -> None:
        """Drop the phase's optimiser."""
        self.optimizer = None

    def set_learning_rate(self, phase: Phase, epoch: int, recorded: bool) -> None:
        """Set the learning rate and momentum of an epoch (from 0) of `phase`.

        `recorded`: its steps may become a CUDA graph.
        """
        assert self.optimizer is not None
        settings = self._settings(phase)
        rate = learning_rate_at(settings["schedule"], settings["learning_rate"], epoch, phase.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        set_momentum(self.optimizer, momentum_at(settings["schedule"], settings["momentum"], epoch))
        for name, optimizer in self._learned_optimizers.items():
            for learned, group in zip(self._learned_by(name), optimizer.param_groups, strict=True):
                if learned.scheduled:
                    group["lr"] = learning_rate_at(settings["schedule"], learned.learning_rate, epoch, phase.epochs)
        for optimizer in (self.optimizer, *self._learned_optimizers.values()):
            allow_recording(optimizer, recorded)

    def _learned_by(self, optimizer: str) -> list[LearnedTensor]:
        """The learned tensors that an optimiser steps, in the order of its groups."""
        return [learned for learned in self.task.learned.values() if learned.optimizer == optimizer]

    def _settings(self, phase: Phase) -> dict[str, Any]:
        """The optimiser's settings in one phase: the run's, unless the phase names its own."""
        if unknown := sorted(set(phase.optimizer) - set(SETTINGS)):
            raise ValueError(f"phase {phase.name!r} sets {', '.join(unknown)}; a phase may set: {', '.join(SETTINGS)}")
        return {name: getattr(self.spec, name) for name in SETTINGS} | dict(phase.optimizer)

    def __call__(self, step: TrainingStep) -> Tensor:
        """Take one step: forward, backward, update; returns the loss, detached, still on the device.

        A recording of it is replayed without Python, so it may count and decide nothing on the host (the pass counter
        apart). `update_averages` is a call of its own.
        """
        assert self.optimizer is not None
        loss = self.method.loss(step)
        if not self.group.is_single:
            loss = loss * step.share
        optimizers = [self.optimizer, *self._learned_optimizers.values()]
        for optimizer in optimizers:
            clear_gradients(optimizer)
        scaled = self.scaler.is_enabled()
        torch.autograd.backward(self.scaler.scale(loss) if scaled else loss)
        self._all_reduce_gradients(step.learn)
        if scaled:
            # the scaler refuses an optimiser without a single gradient, such as that of tensors the loss didn't use
            optimizers = [optimizer for optimizer in optimizers if has_gradient(optimizer)]
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)
        self._clip(step.learn)
        update = self.scaler.step if scaled else step_optimizer
        for optimizer in optimizers:
            update(optimizer)
        if scaled:
            self.scaler.update()
        return loss.detach()

    def update_averages(self, learn: tuple[int, ...]) -> None:
        """Update the averages of the networks that have just learned.

        Never recorded: an average's decay depends on the number of its updates.
        """
        for average in self.task.averages:
            if any(average.source is self.networks[number] for number in learn):
                average.update()

    def _all_reduce_gradients(self, learn: tuple[int, ...]) -> None:
        """Sum the gradients of networks and shared tensors over the processes.

        A synchronisation point, before clipping, so that all processes clip by the same norm. Learned rows of samples
        have their gradient in one process only, and are merged at the end of the pass.
        """
        if not self.group.is_single:
            weights = [weight for number in learn for weight in self.networks[number].weights]
            shared = [learned.values for learned in self.task.learned.values() if not learned.per_sample]
            self.group.all_reduce_gradients([*weights, *shared])

    def _clip(self, learn: tuple[int, ...]) -> None:
        """Clip each network's gradient by its own norm, so that members of an ensemble train as they would alone."""
        if self.spec.gradient_clip is not None:
            for number in learn:
                clip_gradient_norm(self.networks[number].weights, self.spec.gradient_clip)

    def state(self) -> dict[str, Any]:
        """The state of optimisers and scaler, which the next step depends on besides weights and learned tensors."""
        return {
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            **{key: self._learned_state(name) for name, key in LEARNED_KEYS.items()},
            "scaler": self.scaler.state_dict(),
        }

    def _learned_state(self, name: str) -> dict[str, Any] | None:
        """The state of one optimiser of learned tensors, or None where it steps none."""
        optimizer = self._learned_optimizers.get(name)
        return None if optimizer is None else optimizer.state_dict()

    def load_state(self, state: Mapping[str, Any], phase: Phase | None) -> None:
        """Continue from what `state` returned; `phase` is the one that had begun, if one had."""
        for name, optimizer in self._learned_optimizers.items():
            load_optimizer_state(optimizer, state[LEARNED_KEYS[name]])
        if state["optimizer"] is not None and phase is not None:
            self.begin_phase(phase)
            assert self.optimizer is not None
            load_optimizer_state(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
