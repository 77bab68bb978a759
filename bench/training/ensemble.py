"""Ensembles of several copies of one method, which are a method themselves.

Member 0 is the method as it would run alone, bit for bit; the others differ from it by their first weights and by every
random number of their training. Members share nothing. Read `Ensemble` first; `MemberTask` and `MemberStep` are the
core's task and step with the numbers of one member's networks.
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

    A sample's clean probability and soft target are the means over members; a sample that at least half of the members
    select is selected.
    """

    name = "members"
    summary = "several copies of a method"
    source = "deep ensembles: Lakshminarayanan et al., NeurIPS 2017, arXiv 1612.01474"

    def __init__(self, members: Sequence[Method]) -> None:
        super().__init__()
        self.members = tuple(members)
        first = members[0]
        self._phases: list[tuple[Phase, Phase]] = []
        # an ensemble declares what its copies declare
        for name in ("name", "needs", "assumes", "control", "weight_decay", "static_shapes"):
            setattr(self, name, getattr(first, name))
        self.networks_per_member, self.networks = first.networks, first.networks * len(members)

    def unsuitable(self, setting: Setting) -> str | None:
        """The first member's reason."""
        return self.members[0].unsuitable(setting)

    def start(self, task: Task) -> None:
        """Start every member on its own part of the task."""
        self.task = task
        for number, member in enumerate(self.members):
            member.start(MemberTask(task, number, self.networks_per_member))
        self.effective = self.members[0].effective

    def phases(self) -> tuple[Phase, ...]:
        """The members' phases, each joined into one. Raises ValueError where they aren't equally long."""
        self._phases = []
        for first, *others in zip(*(member.phases() for member in self.members), strict=True):
            if any((other.name, other.epochs) != (first.name, first.epochs) for other in others):
                raise ValueError(f"members of {self.name} go through different phases")
            joint = replace(
                first,
                initialise=self._of_all_members(first.initialise),
                trainable=None if first.trainable is None else self._of_all_members(first.trainable),
            )
            self._phases.append((joint, first))
        return tuple(joint for joint, _ in self._phases)

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """All passes of the first member, then all of the second, and so on."""
        member_phase = self._member_phase(phase)
        return [
            replace(member_pass, learn=self._of_member(member_pass.learn, number))
            for number, member in enumerate(self.members)
            for member_pass in member.passes(member_phase, epoch)
        ]

    def loss(self, step: Step) -> Tensor:
        """The loss of the member whose networks learn."""
        number = step.learn[0] // self.networks_per_member
        return self.members[number].loss(MemberStep(step, number, self.networks_per_member))

    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """Let every member refit."""
        for member in self.members:
            member.end_epoch(self._member_phase(phase), epoch)

    def predict(self, networks: Sequence[Network], images: Tensor) -> Tensor:
        """Log-probabilities (B, K): the log of the mean of the members' probabilities."""
        count = self.networks_per_member
        predictions = [
            member.predict(networks[number * count : (number + 1) * count], images)
            for number, member in enumerate(self.members)
        ]
        return torch.logsumexp(torch.stack(predictions), dim=0) - math.log(len(predictions))

    def clean_probability(self) -> Tensor | None:
        """The mean over members, or None where a member has none."""
        return _mean([member.clean_probability() for member in self.members])

    def selected(self) -> Tensor | None:
        """The samples that at least half of the members select, or None where a member has no selection."""
        selections = (member.selected() for member in self.members)
        share = _mean([None if selection is None else selection.double() for selection in selections])
        return None if share is None else share >= 0.5

    def soft_targets(self) -> Tensor | None:
        """The mean over members, or None where a member has none."""
        return _mean([member.soft_targets() for member in self.members])

    def _member_phase(self, phase: Phase) -> Phase:
        """The phase of each member that a joint phase was made of."""
        return next(member_phase for joint, member_phase in self._phases if joint == phase)

    def _of_member(self, networks: Sequence[int], member: int) -> tuple[int, ...]:
        if not networks:
            raise ValueError(f"{self.name} has a pass in which no network learns; members can't tell whose it is")
        return tuple(network + member * self.networks_per_member for network in networks)

    def _of_all_members(self, networks: Sequence[int]) -> tuple[int, ...]:
        firsts = range(0, self.networks, self.networks_per_member)
        return tuple(network + first for first in firsts for network in networks)


def _mean(values: Sequence[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.stack(present).mean(dim=0) if len(present) == len(values) else None


class MemberTask:
    """The task of one member: its networks are numbered from 0, and its memory has names of its own."""

    def __init__(self, task: Task, member: int, networks_per_member: int) -> None:
        self.samples, self.classes, self.epochs = task.samples, task.classes, task.epochs
        self.labels, self.held_labels = task.labels, task.held_labels
        self.batch_size, self.steps_per_epoch = task.batch_size, task.steps_per_epoch
        self.restart_period = task.restart_period
        self.privileges: Mapping[str, Any] = task.privileges
        self._task, self._member, self._first = task, member, member * networks_per_member

    def infer_held(self, network: int | Network = 0) -> Tensor:
        """See `methods.interface.Task`."""
        return self._task.infer_held(self._shift(network))

    def infer(self, network: int | Network = 0, *arguments: Any, **options: Any) -> Tensor:
        """See `methods.interface.Task`."""
        return self._task.infer(self._shift(network), *arguments, **options)

    def state(self, name: str, tensor: Tensor) -> Tensor:
        """See `methods.interface.Task`."""
        return self._task.state(self._prefix(name), tensor)

    def rows(self, name: str, tensor: Tensor, learning_rate: float) -> nn.Parameter:
        """See `methods.interface.Task`."""
        return self._task.rows(self._prefix(name), tensor, learning_rate)

    def parameter(self, name: str, tensor: Tensor, *arguments: Any, **options: Any) -> nn.Parameter:
        """See `methods.interface.Task`."""
        return self._task.parameter(self._prefix(name), tensor, *arguments, **options)

    def average(self, network: int, decay: float | Callable[[int], float]) -> Network:
        """See `methods.interface.Task`."""
        return self._task.average(network + self._first, decay)

    def _shift(self, network: int | Network) -> int | Network:
        return network + self._first if isinstance(network, int) else network

    def _prefix(self, name: str) -> str:
        return f"member {self._member}: {name}"


class MemberStep:
    """The step of the member that learns in it: its networks are numbered from 0."""

    def __init__(self, step: Step, member: int, networks_per_member: int) -> None:
        self.phase, self.epoch, self.draws = step.phase, step.epoch, step.draws
        self.streams: Mapping[str, BatchView] = step.streams
        self.labels, self.index = step.labels, step.index
        self._step, self._first = step, member * networks_per_member

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
