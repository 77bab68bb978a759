"""How the steps of a pass are carried out: one by one, or one of them recorded and played again for the others.

A recording holds what the step did on the device and nothing that Python did around it: numbers of Python (learning
rate, epoch, phase, who learns) stay what they were, and so they are constant over a pass, for which it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bench.training.distributed import ProcessGroup
from bench.training.networks import PassCounter
from bench.training.step import TrainingStep
from methods.interface import Method

WARM_UP = 3
"""Steps of each pass that run by themselves before one is recorded: they make optimiser states and workspaces."""

RecordableWork = Callable[[TrainingStep], Tensor]
"""One step as one piece: forward, loss, backward and update; returns the loss, detached."""


@dataclass(frozen=True)
class StepMode:
    """How steps are carried out: networks compiled or not, steps recorded as a graph or not.

    `because` says why it isn't what was asked for, or what "auto" went by.
    """

    compiled: bool = False
    graph: bool = False
    because: str | None = None

    def __str__(self) -> str:
        parts = [name for name, on in (("compiled", self.compiled), ("graph", self.graph)) if on]
        return ", ".join(parts) or "eager"


def choose_step_mode(asked: str, device: torch.device, method: Method, precision: str, ranks: ProcessGroup) -> StepMode:
    """The way that `asked` ("auto", "eager", "graph" or "compiled") means for one run on one device.

    Whatever can't be had here gives way to eager steps, which compute the same.
    """
    cuda = device.type == "cuda"
    if asked == "eager":
        return StepMode()
    if asked == "auto" and not cuda:
        return StepMode(because="auto on a processor, where compiled networks are no faster in bf16")
    if asked == "graph" and not cuda:
        return StepMode(because="there are graphs on CUDA devices only")
    if not method.static_shapes:
        return StepMode(because=f"the shapes of {method.name}'s steps depend on data")
    if precision == "fp16":
        return StepMode(because="fp16's gradient scaler decides on the host whether a step counts")
    if not ranks.alone:
        return StepMode(because="several processes train the run together")
    return StepMode(compiled=asked == "compiled", graph=cuda)


class StepRecorder(Protocol):
    """Records work on a device. `seconds`: what recording has taken so far, without the work itself."""

    seconds: float

    def aside(self) -> AbstractContextManager[object]:
        """Where steps run before one is recorded."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Carry out `work` once; returns a call that carries it out again, on the same tensors, without Python."""


class StepRunner:
    """The steps of one pass, in order: call it with each. Without a recorder every step runs by itself.

    Steps of another shape than the pass's first one (a smaller last batch) run by themselves as well.
    `usual` is what steps of the first one's shape run under (compiled networks).
    """

    def __init__(
        self,
        work: RecordableWork,
        meter: PassCounter,
        recorder: StepRecorder | None,
        usual: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.replayed = 0
        self._work, self._meter, self._recorder, self._usual = work, meter, recorder, usual
        self._shapes: list[torch.Size] | None = None
        self._before_recording = WARM_UP
        self._recording: RecordedStep | None = None

    def __call__(self, step: TrainingStep) -> Tensor:
        """Carry out one step; returns its loss, detached, which holds until the next step."""
        shapes = [tensor.shape for tensor in step.tensors()]
        if self._shapes is None:
            self._shapes = shapes
        if shapes != self._shapes:
            return self._work(step)
        if self._recorder is None:
            with self._usual():
                return self._work(step)
        if self._before_recording:
            self._before_recording -= 1
            with self._recorder.aside(), self._usual():
                return self._work(step)
        if self._recording is None:
            with self._usual():
                self._recording = RecordedStep(self._work, step, self._meter, self._recorder)
            return self._recording.loss
        self.replayed += 1
        return self._recording.play(step)

    def forget(self) -> None:
        """Let go of what was recorded, and of the memory that it is played in; what follows runs by itself."""
        self._recorder = self._recording = None


class RecordedStep:
    """A recorded step: `step` has been carried out by making it."""

    def __init__(self, work: RecordableWork, step: TrainingStep, meter: PassCounter, recorder: StepRecorder) -> None:
        self.loss: Tensor
        self._meter = meter
        fixed = step.copy()
        self._inputs = fixed.tensors()

        def carry_out() -> None:
            self.loss = work(fixed)

        before = meter.forward, meter.backward
        self._again = recorder.record(carry_out)
        self._counted = meter.forward - before[0], meter.backward - before[1]

    def play(self, step: TrainingStep) -> Tensor:
        """Carry out another step of the same shapes; returns its loss."""
        for mine, given in zip(self._inputs, step.tensors(), strict=True):
            mine.copy_(given)
        self._again()
        self._meter.forward += self._counted[0]
        self._meter.backward += self._counted[1]
        return self.loss
