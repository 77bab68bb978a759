"""Every registered method as several copies of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.records.store import Store
from bench.registry import load_method, methods
from bench.spec import RunSpec
from bench.training.ensemble import Ensemble
from bench.training.noisy_data import NoisyData, build_trainer, build_training_part
from bench.training.outcome import Interrupted
from bench.training.run import run_spec
from bench.training.trainer import Trainer
from methods.ce import CrossEntropy
from methods.interface import Method, Pass, Phase

CPU = torch.device("cpu")


def trained(problem: NoisyData, spec: RunSpec, members: int) -> Trainer:
    """A trainer at its end, of copies under the wrapper, however few they are."""
    make = load_method(spec.method)
    method = Ensemble([make(**spec.parameters) for _ in range(members)])
    return finished(Trainer(method, spec, build_training_part(problem, method, spec, CPU), CPU))


def finished(trainer: Trainer) -> Trainer:
    for _ in trainer.epochs():
        pass
    return trainer


def predicted(trainer: Trainer) -> Tensor:
    for network in trainer.networks:
        network.module.eval()
    with torch.no_grad():
        return trainer.method.predict(trainer.networks, trainer.batch_loader.store.plain(torch.arange(16)))


def told_by(method: Method) -> list[Any]:
    """What a method says of the training set."""
    return [method.clean_probability(), method.selected(), method.soft_targets()]


def alike(left: list[Tensor | None], right: list[Tensor | None]) -> bool:
    return all(
        (one is None and other is None) or (one is not None and other is not None and torch.equal(one, other))
        for one, other in zip(left, right, strict=True)
    )


def test_one_member_is_the_method_itself(method: str, make: Any, problem_of: Any, equal: Callable[..., bool]) -> None:
    spec, runtime = make(method)
    problem = problem_of(spec, runtime)
    plain, wrapped = finished(build_trainer(problem, spec, CPU)), trained(problem, spec, 1)
    assert not isinstance(plain.method, Ensemble)
    assert equal(weights(plain), weights(wrapped))
    assert alike(list(plain.task.states.values()), list(wrapped.task.states.values()))
    learned = [[each.values.data for each in trainer.task.learned.values()] for trainer in (plain, wrapped)]
    assert alike(*learned)
    assert torch.equal(predicted(plain), predicted(wrapped))
    assert alike(told_by(plain.method), told_by(wrapped.method))
    assert plain.pass_counter == wrapped.pass_counter
    assert plain.method.effective == wrapped.method.effective
    for name in ("name", "needs", "assumes", "control", "networks", "weight_decay", "static_shapes"):
        assert getattr(wrapped.method, name) == getattr(plain.method, name), name


def weights(trainer: Trainer) -> list[dict[str, Tensor]]:
    return [network.module.state_dict() for network in (*trainer.networks, *trainer.task.averages)]


def test_the_first_of_two_members_trains_as_it_would_alone(
    method: str, make: Any, problem_of: Any, equal: Callable[..., bool]
) -> None:
    spec, runtime = make(method)
    problem = problem_of(spec, runtime)
    alone = finished(build_trainer(problem, spec, CPU))
    two = finished(build_trainer(problem, spec.model_copy(update={"members": 2}), CPU))
    each = len(alone.networks)
    own = [[network.module.state_dict() for network in trainer.networks] for trainer in (alone, two)]
    assert len(own[1]) == 2 * each and equal(own[0], own[1][:each])
    assert not equal(own[0], own[1][each:])
    # a second member costs about as much: what it selects, and so how many steps it takes, is its own
    assert two.pass_counter.units == pytest.approx(2 * alone.pass_counter.units, rel=0.25)
    assert torch.allclose(predicted(two).exp().sum(dim=1), torch.ones(16), atol=1e-5)


def test_members_of_ce_are_those_of_ce_ensemble_but_for_their_order(
    make: Any, problem_of: Any, equal: Callable[..., bool]
) -> None:
    """Both start from the same weights and cost the same; the control's networks see their batches in one order."""
    spec, runtime = make("ce", members=2)
    control, _ = make("ce-ensemble", parameters={"members": 2})
    problem = problem_of(spec, runtime)
    first = [weights(build_trainer(problem, each, CPU)) for each in (spec, control)]
    assert equal(*first)
    ours, theirs = (finished(build_trainer(problem, each, CPU)) for each in (spec, control))
    assert ours.pass_counter == theirs.pass_counter
    assert equal(weights(ours)[:1], weights(theirs)[:1])
    assert not equal(weights(ours)[1:], weights(theirs)[1:])


def test_the_prediction_is_the_mean_of_the_members(make: Any, problem_of: Any) -> None:
    spec, runtime = make("ce", members=3)
    trainer = finished(build_trainer(problem_of(spec, runtime), spec, CPU))
    together = predicted(trainer).exp()
    with torch.no_grad():
        images = trainer.batch_loader.store.plain(torch.arange(16))
        each = torch.stack([network(images).softmax(dim=1) for network in trainer.networks])
    assert torch.allclose(together, each.mean(dim=0), atol=1e-6)


class Believer(CrossEntropy):
    """Says of every sample what its number is."""

    def __init__(self, believes: float | None) -> None:
        super().__init__()
        self.believes = believes

    def clean_probability(self) -> Tensor | None:
        return None if self.believes is None else torch.full((2,), self.believes)

    def selected(self) -> Tensor | None:
        return None if self.believes is None else torch.tensor([self.believes > 0.5, True])

    def soft_targets(self) -> Tensor | None:
        return None if self.believes is None else torch.full((2, 2), self.believes)


def test_what_members_say_of_samples_is_joined() -> None:
    joined = Ensemble([Believer(0.0), Believer(1.0), Believer(0.5)])
    assert torch.equal(told_by(joined)[0], torch.full((2,), 0.5))
    assert torch.equal(told_by(joined)[1], torch.tensor([False, True]))
    assert torch.equal(told_by(joined)[2], torch.full((2, 2), 0.5))
    # one of two is half of them
    assert torch.equal(told_by(Ensemble([Believer(0.0), Believer(1.0)]))[1], torch.tensor([True, True]))
    assert told_by(Ensemble([Believer(None), Believer(None)])) == [None, None, None]


class Idle(CrossEntropy):
    """Has a pass in which nothing learns."""

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        return (Pass(learn=()),)


class Shifty(CrossEntropy):
    """Each copy trains longer than the one before."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Shifty.made += 1
        self.length = Shifty.made

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("train", self.length),)


@pytest.mark.parametrize(("kind", "reason"), [(Idle, "no network learns"), (Shifty, "different phases")])
def test_what_cannot_be_copied_says_why(kind: type[Method], reason: str, make: Any, problem_of: Any) -> None:
    spec, runtime = make("ce")
    part = build_training_part(problem_of(spec, runtime), kind(), spec, CPU)
    with pytest.raises(ValueError, match=reason):
        finished(Trainer(Ensemble([kind(), kind()]), spec, part, CPU))


@pytest.mark.parametrize("name", ["sop", "selc+", "dividemix"])
def test_members_end_in_the_same_record_when_they_are_stopped(name: str, make: Any, tmp_path: Path) -> None:
    """With learned rows, phases that start anew, and several networks with memory per sample."""
    spec, runtime = make(name, epochs=3, members=2)
    whole, torn = Store(tmp_path / "whole"), Store(tmp_path / "torn")
    run_spec(spec, runtime, whole, lambda done, total: None)
    stop = SimpleNamespace(at=1, now=False)

    def note(done: int, total: int) -> None:
        stop.now = done >= stop.at

    while True:
        try:
            run_spec(spec, runtime, torn, note, lambda: stop.now)
            break
        except Interrupted:
            stop.at, stop.now = stop.at + 1, False
    records = [store.read(spec.run_id) or {} for store in (whole, torn)]
    assert records[1]["provenance"]["attempts"] > 1
    assert records[0]["spec"]["members"] == 2
    assert len(records[0]["measures"]["network_test_accuracies"]) == 2 * methods()[name]["networks"]
    for record in records:
        record.pop("provenance")
    assert records[0] == records[1]
