"""Steps that are recorded and played again, as a CUDA graph does it, end bit for bit where single steps end.

The tape stands in for the graph on a processor: it notes the operations of one step on the tensors that they worked
on, and plays them again without a line of Python. What a method counts, branches on or reads outside the fixed tensors
therefore stays as it was at the recording, exactly as under a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.training.noisy_data import build_trainer
from bench.training.trainer import Trainer

CPU = torch.device("cpu")
WAITING = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, torch.ops.aten.equal.default}
"""A graph refuses what the host would wait for."""


def leaves(value: Any) -> list[Tensor]:
    """The tensors that an operation returned."""
    return [value] if torch.is_tensor(value) else [each for each in value or () if torch.is_tensor(each)]


class Taping(TorchDispatchMode):
    """Notes every operation with its arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in WAITING:
            raise RuntimeError(f"{func} waits for the device")
        result = func(*args, **(kwargs or {}))
        if func.namespace == "profiler":
            return result
        # what is written in place or looks into another tensor has its memory already
        alias = any(returned.alias_info is not None for returned in func._schema.returns)
        self.calls.append((func, args, kwargs or {}, [] if alias else leaves(result)))
        return result


class Tape:
    """A recorder on the processor."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.recorded = self.played = 0

    def warm_up(self) -> nullcontext[None]:
        """There is one stream only."""
        return nullcontext()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Carry out `work` and note its operations; the call plays them."""
        taping = Taping()
        with taping:
            work()
        self.recorded += 1
        self.seconds += 1.0

        @torch.no_grad()
        def again() -> None:
            self.played += 1
            for func, args, kwargs, places in taping.calls:
                result = func(*args, **kwargs)
                for place, value in zip(places, leaves(result) if places else (), strict=True):
                    place.copy_(value)

        return again


def trained(problem: Any, spec: Any, tape: Tape | None) -> tuple[Trainer, list[float]]:
    """A run's trainer after its epochs, and its losses."""
    trainer = build_trainer(problem, spec, CPU)
    trainer.step_recorder = tape
    return trainer, [done.train_loss for done in trainer.epochs()]


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """Every tensor and number in nested dictionaries and lists, by its path."""
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else None
    if items is None:
        return {name: state}
    return {path: value for key, each in items for path, value in flat(each, f"{name}/{key}").items()}


def same(left: Trainer, right: Trainer) -> None:
    """Everything that training leaves behind is equal: weights, optimiser, states, rows, averages, passes counted."""
    states = [flat({**trainer.state(), "measured": what_is_measured(trainer)}) for trainer in (left, right)]
    times = {"/seconds", "/compile_seconds", "/steps/0", "/steps/1"}
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        if name not in times:
            equal = torch.equal(value, states[1][name]) if torch.is_tensor(value) else value == states[1][name]
            assert equal, name


def what_is_measured(trainer: Trainer) -> dict[str, Any]:
    """What a method says of its samples."""
    method = trainer.method
    return {"clean": method.clean_probability(), "kept": method.selected(), "targets": method.soft_targets()}


@pytest.fixture(autouse=True)
def without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transition matrices are checked on the processor only, where looking at their values costs nothing."""
    monkeypatch.setattr("methods.losses._check_transition", lambda transition, classes: None)


def test_recorded_steps_are_single_steps(method: str, make: Any, problem_of: Any) -> None:
    """Passes that end with a smaller batch, in a training long enough for every phase and ramp to begin."""
    spec, runtime = make(method, epochs=5, batch_size=7, schedule="cosine", weight_decay=1e-3)
    problem = problem_of(spec, runtime)
    single, losses = trained(problem, spec, None)
    assert single.method.static_shapes, "a method whose shapes depend on data is recorded nowhere"
    tape = Tape()
    recorded, others = trained(problem, spec, tape)
    assert others == losses
    same(single, recorded)
    assert tape.played > 0 and recorded.steps_replayed == tape.played
    assert recorded.steps_done == single.steps_done and single.steps_replayed == 0
    assert recorded.compile_seconds == tape.recorded


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_optimisers_that_count_their_steps_go_on_counting(optimizer: str, make: Any, problem_of: Any) -> None:
    spec, runtime = make("ce", epochs=2, batch_size=7, optimizer=optimizer, learning_rate=0.01, schedule="cosine")
    problem = problem_of(spec, runtime)
    single, losses = trained(problem, spec, None)
    tape = Tape()
    recorded, others = trained(problem, spec, tape)
    assert others == losses and tape.played > 0
    same(single, recorded)


@pytest.mark.parametrize("method_name", ["elr+", "sop"])
def test_a_run_resumed_under_another_way_is_the_same_run(method_name: str, make: Any, problem_of: Any) -> None:
    """Two epochs of single steps, then recorded ones from the checkpoint; and the other way round."""
    spec, runtime = make(method_name, epochs=4, batch_size=7)
    problem = problem_of(spec, runtime)
    whole, losses = trained(problem, spec, None)
    for ways in ((None, Tape()), (Tape(), None)):
        first = build_trainer(problem, spec, CPU)
        first.step_recorder = ways[0]
        epochs = first.epochs()
        begun = [next(epochs).train_loss, next(epochs).train_loss]
        second = build_trainer(problem, spec, CPU)
        second.step_recorder = ways[1]
        second.load_state(first.state())
        assert begun + [done.train_loss for done in second.epochs()] == losses
        same(whole, second)


def test_the_tape_keeps_to_what_was_recorded(make: Any, problem_of: Any) -> None:
    """The test above can fail: a loss that counts in Python, and one that looks at its own value."""
    spec, runtime = make("ce", epochs=1, batch_size=7)
    problem = problem_of(spec, runtime)

    def with_loss(change: Callable[[Tensor, int], Tensor], tape: Tape | None) -> list[float]:
        trainer = build_trainer(problem, spec, CPU)
        trainer.step_recorder = tape
        plain, calls = trainer.method.loss, iter(range(1000))
        trainer.method.loss = lambda step: change(plain(step), next(calls))  # type: ignore[method-assign]
        return [done.train_loss for done in trainer.epochs()]

    def counting(loss: Tensor, calls: int) -> Tensor:
        return loss * calls

    assert with_loss(counting, None) != with_loss(counting, Tape())
    with pytest.raises(RuntimeError, match="waits"):
        with_loss(lambda loss, calls: loss * float(loss.detach()), Tape())


@pytest.mark.parametrize("name", ["co-teaching", "sop", "mixup", "ce-ema"])
def test_members_are_recorded_each_by_itself(name: str, make: Any, problem_of: Any) -> None:
    """Every member has passes of its own, so it is recorded with its own networks, rows and averages."""
    spec, runtime = make(name, members=2, batch_size=8)
    problem = problem_of(spec, runtime)
    tape = Tape()
    (plain, losses), (taped, played) = trained(problem, spec, None), trained(problem, spec, tape)
    assert losses == played and tape.played > 0
    same(plain, taped)
