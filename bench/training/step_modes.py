"""Step modes: the steps of a pass run one by one, or one of them is recorded and replayed for the others.

`choose_step_mode` decides for a run; `StepRunner` carries out the steps of one pass. A recording holds what the step
did on the device and nothing that Python did around it: numbers of Python (learning rate, epoch, phase, which networks
learn) stay what they were, so a recording is made for each pass, over which they are constant.
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

StepFunction = Callable[[TrainingStep], Tensor]
"""One step as one piece of work: forward, loss, backward and update; returns the loss, detached."""


@dataclass(frozen=True)
class StepMode:
    """A way to carry out steps: networks compiled or not, steps recorded as a graph or not.

    `reason` says why it isn't the mode that was asked for, or what decided for "auto".
    """

    compiled: bool = False
    graph: bool = False
    reason: str | None = None

    def __str__(self) -> str:
        parts = [name for name, on in (("compiled", self.compiled), ("graph", self.graph)) if on]
        return ", ".join(parts) or "eager"


def choose_step_mode(
    requested: str, device: torch.device, method: Method, precision: str, group: ProcessGroup
) -> StepMode:
    """The step mode of one run on one device, of the `requested` "auto", "eager", "graph" or "compiled".

    A mode that isn't possible gives way to eager steps, which compute the same.
    """
    cuda = device.type == "cuda"
    if requested == "eager":
        return StepMode()
    if requested == "auto" and not cuda:
        return StepMode(reason="auto on a processor, where compiled networks are no faster in bf16")
    if requested == "graph" and not cuda:
        return StepMode(reason="there are graphs on CUDA devices only")
    if not method.static_shapes:
        return StepMode(reason=f"the shapes of {method.name}'s steps depend on data")
    if precision == "fp16":
        return StepMode(reason="fp16's gradient scaler decides on the host whether a step counts")
    if not group.is_single:
        return StepMode(reason="several processes train the run together")
    return StepMode(compiled=requested == "compiled", graph=cuda)


class StepRecorder(Protocol):
    """Records work on a device. `seconds`: time that recording has taken so far, without the work itself."""

    seconds: float

    def warm_up(self) -> AbstractContextManager[object]:
        """The context in which steps run before one is recorded."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Carry out `work` once; returns a call that carries it out again, on the same tensors, without Python."""


class StepRunner:
    """Carries out the steps of one pass, in order, one at each call. Without a recorder every step runs by itself.

    Steps of another shape than the pass's first one (a smaller last batch) run by themselves, outside the context
    `usual_shape` (compiled networks) that the other steps run in.
    """

    def __init__(
        self,
        take_step: StepFunction,
        pass_counter: PassCounter,
        recorder: StepRecorder | None,
        usual_shape: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.replayed = 0
        self._take_step, self._pass_counter = take_step, pass_counter
        self._recorder, self._usual_shape = recorder, usual_shape
        self._shapes: list[torch.Size] | None = None
        self._before_recording = WARM_UP
        self._recording: RecordedStep | None = None

    def __call__(self, step: TrainingStep) -> Tensor:
        """Carry out one step; returns its loss, detached, which holds until the next step."""
        shapes = [tensor.shape for tensor in step.tensors()]
        if self._shapes is None:
            self._shapes = shapes
        if shapes != self._shapes:
            return self._take_step(step)
        if self._recorder is None:
            with self._usual_shape():
                return self._take_step(step)
        if self._before_recording:
            self._before_recording -= 1
            with self._recorder.warm_up(), self._usual_shape():
                return self._take_step(step)
        if self._recording is None:
            with self._usual_shape():
                self._recording = RecordedStep(self._take_step, step, self._pass_counter, self._recorder)
            return self._recording.loss
        self.replayed += 1
        return self._recording.replay(step)

    def drop_recording(self) -> None:
        """Free the recording and its memory; later steps run by themselves."""
        self._recorder = self._recording = None


class RecordedStep:
    """A recorded step on tensors of its own. Making it carries out `step`."""

    def __init__(
        self, take_step: StepFunction, step: TrainingStep, pass_counter: PassCounter, recorder: StepRecorder
    ) -> None:
        self.loss: Tensor
        self._pass_counter = pass_counter
        fixed_step = step.copy()
        self._inputs = fixed_step.tensors()

        def work() -> None:
            self.loss = take_step(fixed_step)

        before = pass_counter.forward, pass_counter.backward
        self._replay = recorder.record(work)
        # a replay runs no Python, so its passes are counted from those of the recording
        self._passes = pass_counter.forward - before[0], pass_counter.backward - before[1]

    def replay(self, step: TrainingStep) -> Tensor:
        """Carry out another step of the same shapes; returns its loss."""
        for fixed, tensor in zip(self._inputs, step.tensors(), strict=True):
            fixed.copy_(tensor)
        self._replay()
        self._pass_counter.forward += self._passes[0]
        self._pass_counter.backward += self._passes[1]
        return self.loss
