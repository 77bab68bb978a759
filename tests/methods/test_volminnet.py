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
    task = SimpleNamespace(classes=classes, epochs=epochs, steps_per_epoch=steps)

    def parameter(
        name: str, tensor: Tensor, learning_rate: float, momentum: float, optimizer: str, scheduled: bool
    ) -> nn.Parameter:
        task.rate, task.momentum, task.optimizer, task.scheduled = learning_rate, momentum, optimizer, scheduled
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


@pytest.mark.parametrize(("data_set", "optimizer", "init"), [("mnist", "adam", 2.0), ("cifar100", "adam", 4.5)])
def test_recipes_name_the_optimiser_of_the_released_code(data_set: str, optimizer: str, init: float) -> None:
    values = {recipe.data_set: recipe.values for recipe in VolMinNet.recipes}
    assert values["cifar10"]["transition_optimizer"] == "sgd"
    assert (values[data_set]["transition_optimizer"], values[data_set]["init"]) == (optimizer, init)
    assert {recipe["transition_rate"] for recipe in values.values()} == {0.01}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_in_a_published_length_the_rate_of_the_matrix_is_the_published_one_and_follows_the_schedule(
    optimizer: str,
) -> None:
    for epochs, steps in ((80, 352), (80, 391), (200, 400)):
        task = started(VolMinNet(transition_optimizer=optimizer), epochs=epochs, steps=steps).task
        assert (task.rate, task.optimizer, task.momentum, task.scheduled) == (0.01, optimizer, 0.9, True)


def test_in_a_shorter_training_sgd_goes_as_far_and_adam_more_slowly() -> None:
    method = started(VolMinNet(transition_optimizer="sgd"), epochs=30, steps=20)
    assert method.task.rate * 600 == pytest.approx(0.01 * REFERENCE_STEPS)
    assert method.effective == {"transition_rate": method.task.rate}
    rates = [started(VolMinNet(), epochs=1, steps=steps).task.rate for steps in (20, 600, 3520, 28_159)]
    assert rates == sorted(rates) and rates[1] == pytest.approx(0.0028, abs=1e-4) and rates[2] == pytest.approx(0.005)
    assert rates[-1] == pytest.approx(0.01, rel=1e-4)


def transition_learned(method: Any, true: Tensor, steps: int, batch: int) -> Tensor:
    """T after `steps` on labels drawn from the true one (K, K), where p is 0.95 at the true class."""
    classes = len(true)
    generator = torch.Generator().manual_seed(0)
    spread = 0.05 / (classes - 1)
    log_probabilities = torch.full((classes, classes), spread).fill_diagonal_(0.95).log()
    settings = {"lr": method.task.rate}
    adam = method.task.optimizer == "adam"
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam([method.weights], **settings)
        if adam
        else torch.optim.SGD([method.weights], momentum=method.task.momentum, **settings)
    )
    clean = torch.randint(classes, (steps, batch), generator=generator)
    noisy = torch.multinomial(true[clean.flatten()], 1, generator=generator).view(steps, batch)
    for right, labels in zip(clean, noisy, strict=True):
        optimizer.zero_grad()
        loss_of(method, log_probabilities[right], labels).backward()
        optimizer.step()
    return transition_of(method.weights.detach())


def pairs(classes: int) -> Tensor:
    """Pair noise of 0.45."""
    return 0.55 * torch.eye(classes) + 0.45 * torch.eye(classes).roll(1, 1)


def test_with_a_hundred_classes_the_published_setting_leaves_its_start() -> None:
    """2,000 steps of pair noise: the diagonal moves by more than 0.05, towards the true one; by SGD it would stay."""
    recipe = next(recipe for recipe in VolMinNet.recipes if recipe.data_set == "cifar100")
    diagonals, errors = [], []
    for optimizer, steps in (("adam", 2000), ("sgd", 500)):
        method = started(VolMinNet(**dict(recipe.values) | {"transition_optimizer": optimizer}), 100)
        start = transition_of(method.weights.detach()).diagonal().mean()
        learned = transition_learned(method, pairs(100), steps, 32)
        diagonals.append(float(abs(learned.diagonal().mean() - start)))
        errors.append(float((learned - pairs(100)).abs().sum() / 100))
    assert diagonals[0] > 0.05 > 0.01 > diagonals[1]
    assert errors[0] < 0.3 < 0.9 < errors[1]


def test_the_core_hands_the_methods_optimiser_to_the_matrix(trained: Any) -> None:
    by_adam, by_sgd, frozen = (
        trained(VolMinNet(transition_optimizer=optimizer, transition_rate=rate))[0]
        for optimizer, rate in (("adam", 0.3), ("sgd", 0.3), ("adam", 0.0))
    )
    assert not any(torch.equal(by_adam[name], by_sgd[name]) for name in by_adam if name.endswith("weight"))
    assert not any(torch.equal(by_adam[name], frozen[name]) for name in by_adam if name.endswith("weight"))


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
