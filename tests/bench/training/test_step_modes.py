"""Which way steps are carried out, when one is recorded, and how processes agree on stopping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.registry import load_method
from bench.spec import RunSpec
from bench.system import hardware
from bench.system.errors import UsageError
from bench.training.distributed import SECONDS_BETWEEN_VOTES, SINGLE_PROCESS, ProcessGroup, StopVote
from bench.training.images.image_store import ImageStore
from bench.training.method_task import TrainingPart
from bench.training.networks import PassCounter, pooled_features
from bench.training.step import Batch, TrainingStep
from bench.training.step_modes import WARM_UP, StepMode, StepRunner, choose_step_mode
from bench.training.trainer import Trainer
from methods.interface import Method

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Ragged(Method):
    """Its steps have shapes of their own."""

    name = "ragged"
    static_shapes = False


@pytest.mark.parametrize(
    ("requested", "device", "precision", "group", "expected"),
    [
        ("auto", CPU, "bf16", SINGLE_PROCESS, "eager"),
        ("eager", CPU, "fp32", SINGLE_PROCESS, "eager"),
        ("compiled", CPU, "fp32", SINGLE_PROCESS, "compiled"),
        ("graph", CPU, "fp32", SINGLE_PROCESS, "eager"),
        ("auto", CUDA, "bf16", SINGLE_PROCESS, "graph"),
        ("graph", CUDA, "fp32", SINGLE_PROCESS, "graph"),
        ("eager", CUDA, "bf16", SINGLE_PROCESS, "eager"),
        ("compiled", CUDA, "bf16", SINGLE_PROCESS, "compiled, graph"),
        ("auto", CUDA, "fp16", SINGLE_PROCESS, "eager"),
        ("compiled", CUDA, "fp16", SINGLE_PROCESS, "eager"),
        ("auto", CUDA, "bf16", ProcessGroup(0, 2), "eager"),
    ],
)
def test_the_way_is_the_fastest_that_is_right(
    requested: str, device: torch.device, precision: str, group: ProcessGroup, expected: str
) -> None:
    way = choose_step_mode(requested, device, load_method("ce")(), precision, group)
    assert str(way) == expected
    # a mode that wasn't asked for, or was chosen by "auto", comes with its reason
    assert (way.reason is None) == (expected.startswith(requested) or expected == "graph")
    assert choose_step_mode(requested, device, Ragged(), precision, group) in (
        StepMode(),
        StepMode(reason=_reason_for(requested, device)),
    )


def _reason_for(requested: str, device: torch.device) -> str | None:
    return choose_step_mode(requested, device, Ragged(), "fp32", SINGLE_PROCESS).reason


class Counting:
    """A recorder that calls its work again, and counts."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: list[str] = []

    def warm_up(self) -> nullcontext[None]:
        self.calls.append("aside")
        return nullcontext()

    def record(self, work: Any) -> Any:
        self.calls.append("record")
        work()
        return lambda: self.calls.append("play")


def step_of(size: int, value: float = 0.0) -> TrainingStep:
    """A step of `size` images."""
    index = torch.arange(size)
    batch = Batch(index, index % 2, [torch.full((size, 1, 2, 2), float(value))])
    return TrainingStep("train", 0, (0,), {"weight": torch.tensor(float(value))}, {"all": batch}, [])


def test_the_first_steps_run_one_is_recorded_and_the_rest_is_played() -> None:
    seen: list[tuple[int, float]] = []
    pass_counter, recorder = PassCounter(), Counting()

    def work(step: TrainingStep) -> Tensor:
        pass_counter.forward += len(step.index)
        seen.append((len(step.index), float(step.draws["weight"])))
        return step.streams["all"].views[0].mean()

    stepper = StepRunner(work, pass_counter, recorder, nullcontext)
    sizes = [4] * (WARM_UP + 2) + [3, 4, 2]
    losses = [float(stepper(step_of(size, number))) for number, size in enumerate(sizes)]
    played = ["aside"] * WARM_UP + ["record", "play", "play"]
    assert recorder.calls == played
    assert stepper.replayed == 2
    # what is played isn't seen by Python again; smaller batches are
    assert seen == [(4, float(number)) for number in range(WARM_UP + 1)] + [(3, WARM_UP + 2.0), (2, WARM_UP + 4.0)]
    assert losses[: WARM_UP + 1] == [float(number) for number in range(WARM_UP + 1)]
    assert pass_counter.forward == sum(sizes)


def test_a_recording_gets_every_step_on_the_same_tensors() -> None:
    places: list[Tensor] = []
    values: list[float] = []

    def work(step: TrainingStep) -> Tensor:
        places.extend(step.tensors())
        return step.streams["all"].views[0].sum()

    stepper = StepRunner(work, PassCounter(), Counting(), nullcontext)
    for number in range(WARM_UP + 3):
        del places[:-4]
        step = step_of(4, number)
        stepper(step)
        values.append(float(places[-1].mean()))
        assert all(torch.equal(mine, given) for mine, given in zip(places[-4:], step.tensors(), strict=True))
    assert values == [float(number) for number in range(WARM_UP + 3)]


@pytest.mark.parametrize(
    ("name", "device", "words"),
    [("graph", "cpu", "--steps auto"), ("compiled", "cpu", r"C\+\+ compiler \(no-such-compiler\)")],
)
def test_ways_that_this_machine_has_not_say_what_to_type(
    name: str, device: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match=words):
        hardware.check_step_mode(name, device)
    hardware.check_step_mode("auto", device)
    hardware.check_step_mode("eager", device)
    assert hardware.describe_fast_paths("cpu", "bf16")["compiled networks"].startswith("off: torch.compile needs")


class Pretended(ProcessGroup):
    """Two processes, the other of which says what the test wants."""

    answers: Iterator[bool]

    def all_reduce_max(self, values: Any, device: torch.device) -> list[float]:
        return [max(values[0], float(next(self.answers))), *values[1:]]


def test_processes_vote_seldom_and_soon_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 1 ms, then of 50 ms: so many between two votes as take a quarter of a second."""
    now = [0.0]
    monkeypatch.setattr("bench.training.distributed.time.perf_counter", lambda: now[0])
    group = Pretended(0, 2)
    object.__setattr__(group, "answers", iter([False] * 1000))
    vote = StopVote(group, CPU, lambda: False)
    for seconds, steps, most in ((0.001, 2000, 40), (0.05, 100, 30)):
        vote.start_pass()
        before, gaps, last = vote.votes, [], now[0]
        for _ in range(steps):
            asked = vote.votes
            assert vote() is False
            if vote.votes > asked:
                gaps.append(now[0] - last)
                last = now[0]
            now[0] += seconds
        assert 0 < vote.votes - before <= most
        assert max(gaps) <= SECONDS_BETWEEN_VOTES + 2 * seconds


def test_whoever_is_told_to_stop_all_stop() -> None:
    group = Pretended(0, 2)
    object.__setattr__(group, "answers", iter([False, True]))
    vote = StopVote(group, CPU, lambda: False)
    answers = [vote() for _ in range(2)]
    assert answers == [False, True] and vote.votes == 2
    alone = StopVote(SINGLE_PROCESS, CPU, iter([False, True]).__next__)
    assert [alone(), alone()] == [False, True] and alone.votes == 0


def trainer_of(steps: str) -> Trainer:
    """Cross-entropy on 44 images in batches of 10: four usual steps and a smaller one an epoch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (44, 8, 8, 1), dtype=torch.uint8, generator=generator)
    labels = torch.randint(4, (44,), generator=generator)
    store = ImageStore(images, [0.5], [0.25], 0)
    spec = RunSpec(
        method="ce", data_set="random", data_sha256="0" * 64, noise="none", model="cnn-small", epochs=2, batch_size=10,
        learning_rate=0.02,
    )  # fmt: skip
    part = TrainingPart(store, labels, 4, store, labels)
    return Trainer(load_method("ce")(), spec, part, CPU, steps=steps)


@pytest.mark.slow
def test_compiled_networks_train_as_others_do_and_compiling_is_no_training() -> None:
    hardware.check_step_mode("compiled", "cpu")
    trainers = [trainer_of(steps) for steps in ("eager", "compiled")]
    eager, compiled = ([done.train_loss for done in trainer.epochs()] for trainer in trainers)
    assert compiled == pytest.approx(eager, rel=1e-3)
    weights: list[list[nn.Parameter]] = [trainer.networks[0].weights for trainer in trainers]
    assert all(torch.allclose(a, b, rtol=1e-2, atol=1e-4) for a, b in zip(*weights, strict=True))
    slow, fast = trainers
    assert (slow.compile_seconds, str(slow.step_mode), str(fast.step_mode)) == (0.0, "eager", "compiled")
    assert fast.compile_seconds > 0 < fast.seconds
    # evaluation runs as it does elsewhere
    assert fast.networks[0].pooled is pooled_features
    again = trainer_of("compiled")
    list(again.epochs())
    assert again.compile_seconds < fast.compile_seconds
