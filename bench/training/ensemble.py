"""Several copies of one method as one: an ensemble that any method can be made into.

Member 0 is the method as it would run alone, bit for bit; the others differ from it by their first weights and by every
random number of their training, and never hear of one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from methods.interface import BatchView, Method, Network, Pass, Phase, Setting, Step, Task


class Ensemble(Method):
    """`members` are independent copies of one method; the prediction is the log of the mean of their probabilities.

    Member m of n-network copies has the networks m n to m n + n - 1, so first weights differ by their numbers. An epoch
    is all passes of member 0, then all of member 1, and so on: orders, crops and draws are keyed by a pass's number, so
    they differ too. Memory, learned values and averages are each member's own. Costs as many times the method.

    Of each sample it says the mean of its members' probabilities and targets; it keeps what at least half of them keep.
    """

    name = "members"
    summary = "several copies of a method"
    source = "deep ensembles: Lakshminarayanan et al., NeurIPS 2017, arXiv 1612.01474"

    def __init__(self, members: Sequence[Method]) -> None:
        super().__init__()
        self.members = tuple(members)
        self.each = members[0].networks
        self._phases: list[tuple[Phase, Phase]] = []
        first = members[0]
        # what is declared is the copies' own
        vars(self).update(
            name=first.name,
            needs=first.needs,
            assumes=first.assumes,
            control=first.control,
            networks=self.each * len(self.members),
            weight_decay=first.weight_decay,
            static_shapes=first.static_shapes,
        )

    def unsuitable(self, setting: Setting) -> str | None:
        """What the first member says."""
        return self.members[0].unsuitable(setting)

    def start(self, task: Task) -> None:
        """Start every member on its own part of the task."""
        self.task = task
        for number, member in enumerate(self.members):
            member.start(MemberTask(task, number, self.each))
        self.effective = self.members[0].effective

    def phases(self) -> tuple[Phase, ...]:
        """The members' phases, side by side. Raises ValueError where these aren't equally long."""
        self._phases = []
        for own, *others in zip(*(member.phases() for member in self.members), strict=True):
            if any((each.name, each.epochs) != (own.name, own.epochs) for each in others):
                raise ValueError(f"members of {self.name} go through different phases")
            together = replace(
                own,
                initialise=self._everyones(own.initialise),
                trainable=None if own.trainable is None else self._everyones(own.trainable),
            )
            self._phases.append((together, own))
        return tuple(together for together, _ in self._phases)

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """All passes of the first member, then all of the second, and so on."""
        own = self._own(phase)
        return [
            replace(work, learn=self._shifted(work.learn, number))
            for number, member in enumerate(self.members)
            for work in member.passes(own, epoch)
        ]

    def loss(self, step: Step) -> Tensor:
        """The loss of the member whose networks learn."""
        number = step.learn[0] // self.each
        return self.members[number].loss(MemberStep(step, number, self.each))

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """Every member's own refits."""
        for member in self.members:
            member.end_epoch(self._own(phase), epoch)

    def predict(self, networks: Sequence[Network], images: Tensor) -> Tensor:
        """Log-probabilities (B, K): the log of the mean of the members' probabilities."""
        said = [
            member.predict(networks[number * self.each : (number + 1) * self.each], images)
            for number, member in enumerate(self.members)
        ]
        return torch.logsumexp(torch.stack(said), dim=0) - math.log(len(said))

    def clean_probability(self) -> Tensor | None:
        """The mean of the members', or None where they say nothing."""
        return _mean([member.clean_probability() for member in self.members])

    def selected(self) -> Tensor | None:
        """What at least half of the members keep, or None where they say nothing."""
        kept = _mean([None if own is None else own.double() for own in (each.selected() for each in self.members)])
        return None if kept is None else kept >= 0.5

    def soft_targets(self) -> Tensor | None:
        """The mean of the members', or None where they say nothing."""
        return _mean([member.soft_targets() for member in self.members])

    def _own(self, phase: Phase) -> Phase:
        """The phase as each member knows it."""
        return next(own for together, own in self._phases if together == phase)

    def _shifted(self, networks: Sequence[int], member: int) -> tuple[int, ...]:
        if not networks:
            raise ValueError(f"{self.name} has a pass in which no network learns; members can't tell whose it is")
        return tuple(network + member * self.each for network in networks)

    def _everyones(self, networks: Sequence[int]) -> tuple[int, ...]:
        return tuple(network + number * self.each for number in range(len(self.members)) for network in networks)


def _mean(values: Sequence[Tensor | None]) -> Tensor | None:
    there = [value for value in values if value is not None]
    return torch.stack(there).mean(dim=0) if len(there) == len(values) else None


class MemberTask:
    """The task as one member sees it: its networks count from 0, and its memory bears its own names."""

    def __init__(self, task: Task, member: int, each: int) -> None:
        self.samples = task.samples
        self.classes = task.classes
        self.labels = task.labels
        self.epochs = task.epochs
        self.batch_size = task.batch_size
        self.steps_per_epoch = task.steps_per_epoch
        self.held_labels = task.held_labels
        self.privileges: Mapping[str, Any] = task.privileges
        self._task = task
        self._member = member
        self._first = member * each

    def infer_held(self, network: int | Network = 0) -> Tensor:
        """See `methods.interface.Task`."""
        return self._task.infer_held(self._mine(network))

    def infer(
        self,
        network: int | Network = 0,
        view: str = "none",
        index: Tensor | None = None,
        output: Callable[..., Tensor] | None = None,
        along: Tensor | None = None,
        units: float = 1.0,
    ) -> Tensor:
        """See `methods.interface.Task`."""
        return self._task.infer(self._mine(network), view, index, output, along, units)

    def state(self, name: str, tensor: Tensor) -> Tensor:
        """See `methods.interface.Task`."""
        return self._task.state(self._named(name), tensor)

    def rows(self, name: str, tensor: Tensor, learning_rate: float) -> nn.Parameter:
        """See `methods.interface.Task`."""
        return self._task.rows(self._named(name), tensor, learning_rate)

    def parameter(self, name: str, tensor: Tensor, learning_rate: float, momentum: float = 0.0) -> nn.Parameter:
        """See `methods.interface.Task`."""
        return self._task.parameter(self._named(name), tensor, learning_rate, momentum)

    def average(self, network: int, decay: float | Callable[[int], float]) -> Network:
        """See `methods.interface.Task`."""
        return self._task.average(network + self._first, decay)

    def _mine(self, network: int | Network) -> int | Network:
        return network + self._first if isinstance(network, int) else network

    def _named(self, name: str) -> str:
        return f"member {self._member}: {name}"


class MemberStep:
    """A step as the member that learns in it sees it: its networks count from 0."""

    def __init__(self, step: Step, member: int, each: int) -> None:
        self.phase = step.phase
        self.epoch = step.epoch
        self.draws = step.draws
        self.streams: Mapping[str, BatchView] = step.streams
        self.labels = step.labels
        self.index = step.index
        self._step = step
        self._first = member * each

    @property
    def learn(self) -> tuple[int, ...]:
        """The member's networks that learn, counted from 0."""
        return tuple(network - self._first for network in self._step.learn)

    def logits(self, stream: str | None = None, view: int = 0, network: int = 0) -> Tensor:
        """See `methods.interface.Step`."""
        return self._step.logits(stream, view, network + self._first)

    def network(self, number: int) -> Network:
        """See `methods.interface.Step`."""
        return self._step.network(number + self._first)
