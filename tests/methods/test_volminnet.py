"""VolMinNet: T is a transition matrix whatever its weights, it finds the true one, and frozen it is cross-entropy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.interface import Method
from methods.losses import cross_entropy
from methods.volminnet import REFERENCE_STEPS, VolMinNet, transition_of

CLASSES = 4


def started(method: Method, classes: int = CLASSES, epochs: int = 1, steps: int = REFERENCE_STEPS) -> Any:
    """The method on a task that keeps what it learns and how fast."""
    task = SimpleNamespace(classes=classes, epochs=epochs, steps_per_epoch=steps, rate=None)

    def parameter(name: str, tensor: Tensor, learning_rate: float, momentum: float = 0.0) -> nn.Parameter:
        task.rate = learning_rate
        return nn.Parameter(tensor)

    task.parameter = parameter
    method.start(task)
    return method


def loss_of(method: Any, logits: Tensor, labels: Tensor) -> Tensor:
    loss: Tensor = method.loss(SimpleNamespace(labels=labels, logits=lambda: logits))
    return loss


@given(st.integers(2, 12), st.integers(0, 2**31), st.sampled_from([0.0, 1.0, 10.0, 1e3, 1e30]))
def test_rows_are_distributions_with_the_largest_entry_on_the_diagonal(classes: int, seed: int, scale: float) -> None:
    weights = scale * torch.randn(classes, classes, generator=torch.Generator().manual_seed(seed))
    transition = transition_of(weights)
    assert torch.allclose(transition.sum(dim=1), torch.ones(classes), atol=1e-6)
    assert (transition >= 0).all()
    beside = transition.clone().fill_diagonal_(-1)
    assert (transition.diagonal() > beside.amax(dim=1)).all()


@pytest.mark.parametrize("weight", [-1e4, -60.0, 0.0, 60.0, 1e4])
def test_extreme_weights_keep_loss_and_gradient_finite(weight: float) -> None:
    method = started(VolMinNet(lam=1.0))
    with torch.no_grad():
        method.weights.fill_(weight)
    logits = (20 * torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss = loss_of(method, logits, torch.arange(6) % CLASSES)
    gradients = torch.autograd.grad(loss, (logits, method.weights))
    assert loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("classes", "init"), [(10, 2.0), (100, 4.5)])
def test_the_published_starts_are_symmetric_noise_of_about_half(classes: int, init: float) -> None:
    transition = transition_of(started(VolMinNet(init=init), classes).weights)
    assert torch.allclose(transition.diagonal(), torch.full((classes,), 0.48), atol=0.005)
    beside = transition[~torch.eye(classes, dtype=torch.bool)]
    assert torch.allclose(beside, beside.mean())


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_frozen_at_the_identity_and_without_volume_it_is_cross_entropy(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (5 * torch.randn(8, CLASSES, generator=generator)).requires_grad_()
    labels = torch.randint(CLASSES, (8,), generator=generator)
    loss = loss_of(started(VolMinNet(init=60.0, lam=0.0)), logits, labels)
    expected = cross_entropy(logits, labels).mean()
    assert torch.allclose(loss, expected, atol=1e-6)
    mine, theirs = (torch.autograd.grad(value, logits)[0] for value in (loss, expected))
    assert torch.allclose(mine, theirs, atol=1e-6)


def test_frozen_through_the_core_it_trains_as_cross_entropy(trained: Any) -> None:
    from methods.ce import CrossEntropy

    (ours,), (plain,) = trained(VolMinNet(init=60.0, lam=0.0, transition_rate=0.0)), trained(CrossEntropy())
    assert all(torch.allclose(ours[name].float(), plain[name].float(), atol=1e-4) for name in plain)


def test_the_volume_shrinks_where_it_is_all_that_counts() -> None:
    method = started(VolMinNet(lam=1.0))
    logits, labels = torch.zeros(8, CLASSES), torch.arange(8) % CLASSES
    before = torch.linalg.slogdet(transition_of(method.weights.detach())).logabsdet
    (gradient,) = torch.autograd.grad(loss_of(method, logits, labels), method.weights)
    after = torch.linalg.slogdet(transition_of(method.weights.detach() - 0.1 * gradient)).logabsdet
    assert after < before


def test_the_rate_of_the_matrix_is_the_published_one_over_as_many_steps() -> None:
    for epochs, steps in ((1, REFERENCE_STEPS), (10, 20)):
        method = started(VolMinNet(), epochs=epochs, steps=steps)
        assert method.task.rate * epochs * steps == pytest.approx(0.01 * REFERENCE_STEPS)
        assert method.effective == {"transition_rate": method.task.rate}


@pytest.mark.parametrize("asymmetric", [False, True])
def test_on_a_toy_the_matrix_moves_to_the_true_one(asymmetric: bool) -> None:
    """Separable points with exact counts of each wrong label, a linear network: T's error falls to under half."""
    true = torch.full((CLASSES, CLASSES), 0.1).fill_diagonal_(0.7)
    if asymmetric:
        true = torch.eye(CLASSES)
        true[0], true[1] = torch.tensor([0.6, 0.4, 0, 0]), torch.tensor([0, 0.7, 0.3, 0])
    counts = (30 * true).round().long()
    clean, labels = (torch.arange(CLASSES).repeat_interleave(CLASSES), torch.arange(CLASSES).repeat(CLASSES))
    clean, labels = (values.repeat_interleave(counts.flatten()) for values in (clean, labels))
    noise = 0.05 * torch.randn(len(clean), CLASSES, generator=torch.Generator().manual_seed(0))
    points = torch.nn.functional.one_hot(clean, CLASSES) + noise
    method = started(VolMinNet(init=1.0))
    network = nn.Linear(CLASSES, CLASSES)
    with torch.no_grad():
        network.weight.copy_(torch.eye(CLASSES))
        network.bias.zero_()
    first = (transition_of(method.weights.detach()) - true).abs().sum()
    optimizer = torch.optim.SGD([*network.parameters(), method.weights], lr=0.3, momentum=0.9)
    for _ in range(250):
        optimizer.zero_grad()
        loss_of(method, network(points), labels).backward()
        optimizer.step()
    last = (transition_of(method.weights.detach()) - true).abs().sum()
    assert last < first / 2
