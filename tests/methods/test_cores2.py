"""CORES2: its schedule, its sieve, and what it is without them."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.ce import CrossEntropy
from methods.cores2 import SampleSieve, label_costs
from methods.interface import Phase, Setting, Steps
from methods.losses import cross_entropy

BATCH, CLASSES = 10, 4
seeds = st.integers(0, 2**31)
few = settings(max_examples=25)


def started(method: SampleSieve, epochs: int = 100, labels: Tensor | None = None) -> Any:
    """The method on a task whose states are plain tensors."""
    labels = torch.arange(BATCH) % CLASSES if labels is None else labels
    task = SimpleNamespace(
        samples=BATCH, classes=CLASSES, epochs=epochs, labels=labels, state=lambda name, tensor: tensor
    )
    method.start(task)
    return method


def drawn(method: Any, epoch: int) -> dict[str, Tensor]:
    (work,) = method.passes(Phase("train", method.task.epochs), epoch)
    return {name: value[0] for name, value in work.draws(Steps(2, BATCH), torch.Generator()).items()}


def loss_of(method: Any, logits: Tensor, epoch: int) -> Tensor:
    step = SimpleNamespace(
        labels=method.task.labels, index=torch.arange(BATCH), draws=drawn(method, epoch), logits=lambda: logits
    )
    loss: Tensor = method.loss(step)
    return loss


def logits_of(seed: int) -> Tensor:
    return (3 * torch.randn(BATCH, CLASSES, generator=torch.Generator().manual_seed(seed))).requires_grad_()


def test_the_schedule_is_the_published_one_over_a_hundred_epochs() -> None:
    method = started(SampleSieve())
    weights = [float(drawn(method, epoch)["weight"]) for epoch in range(100)]
    assert weights[:11] == [0] * 11 and weights[39:] == [2] * 61
    assert math.isclose(weights[24], 2 * 14 / 29, rel_tol=1e-6)
    assert [bool(drawn(method, epoch)["sieving"]) for epoch in range(100)] == [False] * 31 + [True] * 69
    assert method.effective == {"delay": 10, "ramp": 30, "sieve": 31}


@given(st.integers(2, 300), st.floats(0.0, 5.0))
def test_the_weight_never_falls_at_any_length(epochs: int, beta: float) -> None:
    method = started(SampleSieve(beta=beta), epochs)
    weights = [float(drawn(method, epoch)["weight"]) for epoch in range(0, epochs, max(1, epochs // 20))]
    assert weights[0] == 0
    assert all(a <= b for a, b in itertools.pairwise(weights))
    assert drawn(method, epochs - 1)["sieving"]


@few
@given(seeds)
def test_without_weight_and_sieve_it_is_cross_entropy(seed: int) -> None:
    method, logits = started(SampleSieve()), logits_of(seed)
    loss = loss_of(method, logits, epoch=5)
    assert torch.allclose(loss, cross_entropy(logits, method.task.labels).mean())
    assert method.selected().all()


def test_without_weight_and_sieve_the_core_trains_cross_entropy(trained: Any, equal: Any) -> None:
    assert equal(trained(SampleSieve(beta=0.0, sieve=1.0)), trained(CrossEntropy()))
    assert not equal(trained(SampleSieve(beta=2.0, sieve=1.0, delay=0.0, ramp=0.0)), trained(CrossEntropy()))


@few
@given(seeds)
def test_the_sieve_keeps_labels_that_cost_no_more_than_the_average_label(seed: int) -> None:
    method, logits = started(SampleSieve(beta=1.5)), logits_of(seed)
    loss = loss_of(method, logits, epoch=99)
    probabilities, labels = logits.detach().double().softmax(dim=1), method.task.labels
    own, costs = -probabilities[torch.arange(BATCH), labels].log(), -(probabilities + 1e-8).log()
    passing = own <= costs.mean(dim=1)
    assert torch.equal(method.selected(), passing)
    prior = torch.bincount(labels, minlength=CLASSES) / BATCH
    expected = (own - 1.5 * (costs * prior).sum(dim=1))[passing]
    assert float(loss.detach()) == pytest.approx(float(expected.mean()) / 2.5 if passing.any() else 0.0, abs=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[~passing].any()


def test_a_batch_of_which_nothing_passes_moves_nothing() -> None:
    method = started(SampleSieve())
    wrong = torch.nn.functional.one_hot((method.task.labels + 1) % CLASSES, CLASSES) * 9.0
    logits = wrong.requires_grad_()
    loss = loss_of(method, logits, epoch=99)
    assert loss == 0 and not torch.autograd.grad(loss, logits)[0].any()
    before = method.prior.clone()
    method.end_epoch(Phase("train", 100), 99)
    assert torch.equal(method.prior, before)


def test_the_prior_follows_the_labels_that_passed() -> None:
    method = started(SampleSieve())
    method.kept[method.task.labels == 2] = False
    method.end_epoch(Phase("train", 100), 50)
    assert method.prior.tolist() == torch.tensor([3 / 8, 3 / 8, 0, 2 / 8]).tolist()


@few
@given(seeds, st.floats(0.0, 1e4))
def test_costs_are_bounded(seed: int, scale: float) -> None:
    costs = label_costs(scale * logits_of(seed).detach())
    assert costs.isfinite().all()
    assert costs.min() >= -1e-6 and costs.max() <= -math.log(1e-8) + 1e-4


def test_it_says_where_the_sieve_would_never_act() -> None:
    facts: dict[str, Any] = {"data_set": "digits", "noise": "sym", "rate": 0.4, "classes": 4, "samples": 99}
    facts |= {"image_shape": (8, 8, 3), "batch_size": 8, "augmentation": "none", "given": frozenset()}
    assert "--epochs 2" in str(SampleSieve().unsuitable(Setting(epochs=1, **facts)))
    assert SampleSieve().unsuitable(Setting(epochs=2, **facts)) is None
