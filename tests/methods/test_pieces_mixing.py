"""Sharpening, mixing, ramps and lengths, for all inputs where they are about all inputs."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.dividemix import DivideMix
from methods.interface import Steps
from methods.m_correction import MCorrection
from methods.pieces.lengths import epochs_of, linear_ramp, published_epochs, sigmoid_ramp, step_times, warm_up_epochs
from methods.pieces.mixing import beta_draws, mix, mixup_draws, one_hot, partners, sharpen, uniform_prior_penalty

seeds = st.integers(0, 2**31)


def simplex(seed: int, rows: int = 5, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(rows, classes, generator=generator)).softmax(dim=1)


def entropy(p: torch.Tensor) -> torch.Tensor:
    return -(p * p.clamp(min=1e-30).log()).sum(dim=1)


@given(seeds, st.floats(0.05, 1.0))
def test_sharpening_keeps_the_argmax_lowers_entropy_and_sums_to_one(seed: int, temperature: float) -> None:
    p = simplex(seed)
    q = sharpen(p, temperature)
    assert torch.equal(q.argmax(dim=1), p.argmax(dim=1))
    assert (entropy(q) <= entropy(p) + 1e-5).all()
    assert torch.allclose(q.sum(dim=1), torch.ones(5), atol=1e-5)
    expected = p.double() ** (1 / temperature)
    assert torch.allclose(q.double(), expected / expected.sum(dim=1, keepdim=True), atol=1e-5)


def test_sharpening_at_temperature_one_changes_nothing_and_one_hot_stays() -> None:
    p = simplex(3)
    assert torch.allclose(sharpen(p, 1.0), p, atol=1e-6)
    one_hot = torch.eye(4)
    assert torch.allclose(sharpen(one_hot, 0.5), one_hot)


@given(seeds, st.floats(0, 1))
def test_mixing_keeps_sums_and_ranges_and_its_mirror_holds_the_same_samples(seed: int, weight: float) -> None:
    targets = simplex(seed)
    order = partners(torch.rand(9, generator=torch.Generator().manual_seed(seed)), 5)
    mixed = mix(targets, order, weight)
    assert torch.allclose(mixed.sum(dim=1), torch.ones(5), atol=1e-5)
    assert mixed.min() >= 0
    mirror = mix(targets, order.argsort(), 1 - weight)
    assert torch.allclose(mirror[order], mixed, atol=1e-6)
    assert torch.equal(mix(targets, order, 1.0), targets)
    per_sample = mix(targets, order, torch.full((5,), weight))
    # a weight in single precision is off by up to 3e-8, and so is its complement
    assert torch.allclose(per_sample, mixed, atol=1e-7)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_beta_draws_have_the_distributions_moments(alpha: float) -> None:
    drawn = beta_draws(alpha, (20_000,), torch.Generator().manual_seed(1)).double()
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    dominant = beta_draws(alpha, (20_000,), torch.Generator().manual_seed(1), dominant=True).double()
    assert torch.allclose(dominant, torch.maximum(drawn, 1 - drawn), atol=1e-6)


def test_draws_are_those_of_their_generator_and_make_permutations() -> None:
    steps = Steps(3, 4)
    first, again = (mixup_draws(steps, torch.Generator().manual_seed(7), 1.0, copies=2) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["order"].shape == (3, 8)
    for order in first["order"]:
        for count in (8, 5, 1):
            assert sorted(partners(order, count).tolist()) == list(range(count))


def test_the_prior_penalty_is_zero_only_at_the_uniform_mean() -> None:
    assert uniform_prior_penalty(torch.zeros(6, 4)).item() == pytest.approx(0, abs=1e-6)
    # certain of one class each, all classes alike: the mean is uniform
    assert uniform_prior_penalty(40 * torch.eye(4)).item() == pytest.approx(0, abs=1e-5)
    skewed = uniform_prior_penalty(torch.tensor([[2.0, 0, 0, 0]]))
    p = torch.tensor([2.0, 0, 0, 0]).softmax(dim=0)
    assert skewed.item() == pytest.approx(float((0.25 * (0.25 / p).log()).sum()), rel=1e-5)
    assert math.isfinite(uniform_prior_penalty(torch.tensor([[500.0, 0, 0, 0]])).item())


@given(st.floats(0, 50), st.floats(0, 20), st.floats(0, 20))
def test_a_linear_ramp_is_monotone_from_nought_at_its_start_to_one_at_its_end(
    time: float, start: float, length: float
) -> None:
    times = torch.tensor([start - 1, start, time, start + length, start + length + 1], dtype=torch.float64)
    ramp = linear_ramp(times.sort().values, start, length)
    assert ramp.min() >= 0
    assert ramp.max() <= 1
    assert (ramp.diff() >= 0).all()
    assert linear_ramp(torch.tensor([start - 1.0]), start, length).item() == 0
    assert linear_ramp(torch.tensor([start + length + 1e-6], dtype=torch.float64), start, length).item() == 1


def test_a_sigmoid_ramp_ends_at_one_and_times_count_within_the_epoch() -> None:
    times = step_times(2, Steps(4, 8))
    assert times.tolist() == [2, 2.25, 2.5, 2.75]
    ramp = sigmoid_ramp(torch.tensor([0.0, 2.5, 5.0, 9.0]), 5.0)
    assert ramp.tolist() == pytest.approx([math.exp(-5), math.exp(-5 / 4), 1, 1])


@pytest.mark.parametrize(
    ("share", "epochs", "steps", "expected"),
    [
        (10 / 300, 300, 391, 10),
        (10 / 300, 30, 26, 4),
        (10 / 300, 30, 100, 2),
        (10 / 300, 3, 5, 1),
        (0, 30, 26, 0),
        (1 / 3, 30, 26, 10),
        (10 / 300, 1, 5, 1),
    ],
)
def test_a_warm_up_scales_with_the_training_within_its_bounds(
    share: float, epochs: int, steps: int, expected: int
) -> None:
    task = SimpleNamespace(epochs=epochs, steps_per_epoch=steps)
    assert warm_up_epochs(share, task) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "epochs", "steps", "published", "expected"),
    [
        (1 / 80, 80, 15_625, 80, 1),  # DivideMix on Clothing1M: one epoch, and enough steps
        (1 / 80, 160, 15_625, 80, 2),
        (1 / 80, 79, 15_625, 80, 2),  # shorter: at least two
        (105 / 300, 300, 391, 300, 105),  # M-correction: more than a third
        (105 / 300, 30, 391, 300, 10),
        (10 / 300, 300, 5, 300, 10),
        (10 / 300, 299, 5, 300, 20),
    ],
)
def test_bounds_of_a_warm_up_hold_in_shorter_trainings_than_the_published_one(
    share: float, epochs: int, steps: int, published: int, expected: int
) -> None:
    task = SimpleNamespace(epochs=epochs, steps_per_epoch=steps)
    assert warm_up_epochs(share, task, published) == expected  # type: ignore[arg-type]


def test_a_length_is_published_with_the_recipes_that_have_its_value() -> None:
    assert published_epochs(MCorrection(), "warm_up") == 300
    assert published_epochs(MCorrection(warm_up=0.1), "warm_up") is None
    assert published_epochs(DivideMix(warm_up=1 / 80), "warm_up") == 80
    assert published_epochs(DivideMix(), "warm_up") == 300


def test_a_share_of_the_epochs_is_at_least_one_of_them() -> None:
    assert [epochs_of(share, 30) for share in (0, 0.001, 0.5, 1)] == [0, 1, 15, 30]


def test_one_hot_targets_are_pytorchs() -> None:
    labels = torch.tensor([[2, 0], [3, 1]])
    assert torch.equal(one_hot(labels, 4), torch.nn.functional.one_hot(labels, 4).float())
