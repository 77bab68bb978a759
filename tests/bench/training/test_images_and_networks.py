"""The training core's parts: schedules, batches, seeds, averages, clipping, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.models import build
from bench.spec.schedules import learning_rate_at, momentum_at, scale_schedule
from bench.system.errors import UsageError
from bench.training import seeds
from bench.training.batch_loader import batch_bounds
from bench.training.networks import AveragedNetwork, PassCounter, TrainedNetwork
from bench.training.optimizers import clear_gradients, clip_gradient_norm, make_optimizer, step_optimizer
from bench.training.precision import Precision

CPU = torch.device("cpu")


def network(seed: int = 0, pass_counter: PassCounter | None = None) -> TrainedNetwork:
    module = build("cnn-small", num_classes=3, in_chans=1, image_size=(8, 8), seed=seed)
    return TrainedNetwork(module, Precision("fp32", CPU), pass_counter or PassCounter())


@given(st.integers(1, 2000), st.integers(1, 300))
def test_batches_cover_everything_once_and_never_hold_one_image_beside_others(samples: int, batch: int) -> None:
    bounds = batch_bounds(samples, batch)
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == samples
    sizes = [stop - start for start, stop in bounds]
    assert all(size == batch for size in sizes[:-1])
    assert sizes[-1] <= max(batch + 1, 2)
    if batch > 1 and samples > 1:
        assert min(sizes) > 1


def test_cosine_starts_at_the_base_and_would_reach_zero_after_the_last_epoch() -> None:
    rates = [learning_rate_at("cosine", 0.2, epoch, 10) for epoch in range(11)]
    assert rates[0] == 0.2
    assert rates[5] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(0, abs=1e-17)
    assert rates == sorted(rates, reverse=True)


def test_steps_exponentials_and_restarts() -> None:
    assert learning_rate_at("step:40,80@0.1", 1.0, 39, 120) == 1.0
    assert learning_rate_at("step:40,80@0.1", 1.0, 40, 120) == pytest.approx(0.1)
    assert learning_rate_at("step:40,80@0.1", 1.0, 119, 120) == pytest.approx(0.01)
    assert learning_rate_at("exponential:0.97", 0.4, 2, 250) == pytest.approx(0.4 * 0.97**2)
    assert learning_rate_at("cosine-restarts:10", 0.02, 10, 150) == pytest.approx(0.02)
    assert learning_rate_at("cosine-restarts:10", 0.02, 5, 150) == pytest.approx(0.02 * 0.525)
    assert learning_rate_at("constant", 0.3, 7, 9) == 0.3


def test_a_linear_schedule_is_the_plan_of_co_teachings_code() -> None:
    """The rate stays until epoch 80 of 200 and falls by 1/120 of it in each later one; momentum changes there."""
    name = "linear:80@momentum=0.1"
    rates = [learning_rate_at(name, 1e-3, epoch, 200) for epoch in range(200)]
    assert rates[:81] == [1e-3] * 81
    assert rates[81:] == pytest.approx([1e-3 * (200 - epoch) / 120 for epoch in range(81, 200)])
    assert [learning_rate_at("linear:80", 1e-3, epoch, 200) for epoch in range(200)] == rates
    assert [momentum_at(name, 0.9, epoch) for epoch in (0, 79, 80, 199)] == [0.9, 0.9, 0.1, 0.1]
    assert momentum_at("linear:80", 0.9, 199) == momentum_at("cosine", 0.9, 199) == 0.9
    assert scale_schedule(name, 200, 20) == "linear:8@momentum=0.1"
    assert learning_rate_at("linear:9", 0.5, 8, 9) == learning_rate_at("linear:12", 0.5, 8, 9) == 0.5


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("linear", "can't be read"),
        ("linear:3@0.1", "can't be read"),
        ("linear:3@momentum=1", "can't be read"),
        ("linear:3@momentum=nan", "can't be read"),
        ("liner:3", "linear"),
        ("cosin", "cosine"),
        ("step:x", "can't be read"),
        ("exponential:", "can't be read"),
        ("cosine:3", "cosine"),
        ("?", "look"),
    ],
)
def test_schedules_that_can_not_be_read(schedule: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        learning_rate_at(schedule, 0.1, 0, 10)


def test_seeds_differ_by_purpose_and_not_by_what_was_drawn_before() -> None:
    first = torch.rand(5, generator=seeds.seeded_generator(3, "order", 0))
    torch.rand(100)
    assert torch.equal(first, torch.rand(5, generator=seeds.seeded_generator(3, "order", 0)))
    others = [seeds.derive_seed(3, "order", 1), seeds.derive_seed(4, "order", 0), seeds.derive_seed(3, "draws", 0)]
    assert len({seeds.derive_seed(3, "order", 0), *others}) == 4
    assert all(0 <= seed < 2**63 for seed in others)


def test_building_a_network_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    network()
    assert torch.equal(before, torch.get_rng_state())


def test_passes_are_counted_in_units() -> None:
    pass_counter = PassCounter()
    subject = network(pass_counter=pass_counter)
    images = torch.zeros(4, 1, 8, 8)
    subject(images)
    with torch.no_grad():
        subject(images)
    assert (pass_counter.forward, pass_counter.backward, pass_counter.units) == (8, 4, 16)


def test_an_average_moves_by_its_decay_and_holds_its_own_weights() -> None:
    subject = network()
    average = AveragedNetwork(subject, decay=0.9)
    weight = next(subject.parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    average.update()
    moved = next(average.parameters())
    assert torch.allclose(moved, before + 0.1, atol=1e-6)
    assert torch.equal(weight, before + 1.0)
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        AveragedNetwork(subject, decay=1.0)


def test_logits_are_float32_under_bf16() -> None:
    subject = network()
    low = TrainedNetwork(subject.module, Precision("bf16", CPU), PassCounter())
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    subject.module.eval()
    assert low(images).dtype == torch.float32
    difference = (low(images) - subject(images)).abs().max().item()
    assert 0 < difference < 0.1


def test_fp16_wants_a_card_and_unknown_precisions_are_named() -> None:
    with pytest.raises(UsageError, match="CUDA"):
        Precision("fp16", CPU)
    with pytest.raises(UsageError, match="bf16"):
        Precision("fp8", CPU)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_optimizers_descend(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = make_optimizer(name, [weight], 0.1, 0.0, 0.9, False)
    for _ in range(100):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert abs(weight.item()) < 0.5


@given(st.integers(0, 2**31), st.sampled_from([1e-3, 0.5, 5.0, 1e4]), st.sampled_from([1e-20, 1.0, 1e3, math.inf]))
def test_the_gradient_clip_is_pytorchs_bit_for_bit(seed: int, largest: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(16, 1, 3, 3), (16,), (128, 70), (), (3,)]
    ours, theirs = ([torch.nn.Parameter(torch.zeros(shape)) for shape in shapes] for _ in range(2))
    for mine, other in zip(ours[:-1], theirs[:-1], strict=True):
        mine.grad = scale * torch.randn(mine.shape, generator=generator)
        other.grad = mine.grad.clone()
    clip_gradient_norm(ours, largest)
    torch.nn.utils.clip_grad_norm_(theirs, largest)
    assert ours[-1].grad is None
    for mine, other in zip(ours[:-1], theirs[:-1], strict=True):
        assert mine.grad is not None and other.grad is not None
        assert torch.equal(mine.grad.view(torch.int32), other.grad.view(torch.int32))


SHAPES = [(16, 1, 3, 3), (16,), (128, 70), ()]


def optimizer_of(weights: list[torch.nn.Parameter], *settings: Any) -> torch.optim.Optimizer:
    made = make_optimizer(settings[0], weights[:2], 0.1, *settings[1:])
    made.add_param_group({"params": weights[2:], "lr": 0.01})
    return made


def train(
    weights: list[torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    step: Callable[[], None],
    moving: Sequence[Collection[int]],
) -> None:
    """A step for each of `moving`, which says which weights have a gradient in it."""
    generator = torch.Generator().manual_seed(len(moving))
    for with_gradient in moving:
        optimizer.zero_grad()
        for place, weight in enumerate(weights):
            gradient = torch.randn(weight.shape, generator=generator)
            weight.grad = gradient if place in with_gradient else None
        step()


def some_weights() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


@given(
    st.sampled_from(["sgd", "adam"]),
    st.sampled_from([0.0, 0.9]),
    st.booleans(),
    st.sampled_from([0.0, 1e-3]),
    st.lists(st.sets(st.integers(0, 3)), max_size=4),
)
def test_steps_are_pytorchs_bit_for_bit(
    name: str, momentum: float, nesterov: bool, weight_decay: float, later: list[set[int]]
) -> None:
    moving = [set(range(4)), *later]
    ours, theirs, again = some_weights(), some_weights(), some_weights()
    made = [optimizer_of(weights, name, weight_decay, momentum, nesterov) for weights in (ours, theirs, again)]
    train(ours, made[0], lambda: step_optimizer(made[0]), moving)
    train(theirs, made[1], made[1].step, moving)
    assert all(map(torch.equal, ours, theirs))
    made[2].load_state_dict(made[0].state_dict())  # and so are those of who goes on from here
    with torch.no_grad():
        for mine, other in zip(again, ours, strict=True):
            mine.copy_(other)
    train(again, made[2], lambda: step_optimizer(made[2]), moving)
    train(theirs, made[1], made[1].step, moving)
    assert all(map(torch.equal, again, theirs))


def test_a_weight_may_get_its_first_gradient_after_the_others() -> None:
    moving = [{0, 3}, {0, 1, 2, 3}, {1, 2}]
    ours, theirs = some_weights(), some_weights()
    optimizer = optimizer_of(ours, "sgd", 1e-3, 0.9, True)
    plain = optimizer_of(theirs, "sgd", 1e-3, 0.9, True)
    for group in plain.param_groups:
        group["fused"] = False
    train(ours, optimizer, lambda: step_optimizer(optimizer), moving)
    train(theirs, plain, plain.step, moving)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_forgotten_gradients_are_none() -> None:
    weights = some_weights()
    optimizer = optimizer_of(weights, "sgd", 0.0, 0.9, False)
    train(weights, optimizer, lambda: None, [{0, 2}])
    assert weights[0].grad is not None
    clear_gradients(optimizer)
    assert all(weight.grad is None for weight in weights)


def test_clipping_nothing_does_nothing() -> None:
    clip_gradient_norm([], 1.0)
    clip_gradient_norm([torch.nn.Parameter(torch.zeros(3))], 1.0)


def test_an_unknown_optimizer_is_named() -> None:
    with pytest.raises(UsageError, match="sgd, adam, adamw"):
        make_optimizer("sgdd", [], 0.1, 0.0, 0.9, False)


def test_the_mean_learning_rate_of_a_cosine_is_half_the_base() -> None:
    rates = [learning_rate_at("cosine", 1.0, epoch, 1000) for epoch in range(1000)]
    assert math.fsum(rates) / 1000 == pytest.approx(0.5, abs=1e-3)
