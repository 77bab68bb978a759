"""What ELR+ computes: whose teacher moves whose targets, what is mixed, and how its ramps and averages scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import one_hot

from methods.elr_plus import EarlyLearningRegularizationPlus
from methods.interface import Phase, Steps
from methods.mixup import Mixup
from methods.pieces.early_learning import CLAMP, as_distributions, early_learning_regularizer
from methods.pieces.mixing import partners

torch.set_num_threads(1)

SAMPLES, CLASSES, BATCH = 9, 4, 5

seeds = st.integers(0, 2**31 - 1)


def normal(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


class Linear(nn.Module):
    """A linear network on flattened images."""

    def __init__(self, seed: int, scale: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(9, CLASSES, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(normal(seed, CLASSES, 9, scale=scale))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


class AverageTask:
    """A task that keeps states and hands out averages: linear networks of their own."""

    def __init__(self, epochs: int = 10, steps: int = 7, scale: float = 1.0) -> None:
        self.samples, self.classes, self.epochs, self.steps_per_epoch = SAMPLES, CLASSES, epochs, steps
        self.labels = torch.randint(CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(5))
        self.decays: list[Callable[[int], float]] = []
        self.scale = scale

    def state(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.clone()

    def average(self, network: int, decay: Callable[[int], float]) -> Linear:
        self.decays.append(decay)
        return Linear(100 + network, self.scale)


def started(epochs: int = 10, steps: int = 7, scale: float = 1.0, **values: Any) -> Any:
    method = EarlyLearningRegularizationPlus(**values)
    method.start(AverageTask(epochs, steps, scale))  # type: ignore[arg-type]
    return method


def step_on(method: Any, network: int, index: Tensor, weight: float = 0.7, coefficient: float = 3.0) -> Any:
    """A step of one network on images that depend on the index only."""
    images = normal(1, SAMPLES, 1, 3, 3)[index]
    students = [Linear(0), Linear(1)]
    return SimpleNamespace(
        learn=(network,),
        index=index,
        labels=method.task.labels[index],
        draws={
            "weight": torch.tensor(weight),
            "order": torch.rand(BATCH + 1, generator=torch.Generator().manual_seed(3)),
            "coefficient": torch.tensor(coefficient),
        },
        streams={"all": SimpleNamespace(views=[images])},
        network=lambda number: students[number],
    )


def gradient_of(loss: Tensor, step: Any, network: int) -> Tensor:
    gradient: Tensor = torch.autograd.grad(loss, step.network(network).layer.weight)[0]
    return gradient


@given(st.integers(0, 1), st.floats(0, 1), seeds)
def test_with_lambda_zero_each_student_takes_the_step_of_mixup(network: int, weight: float, seed: int) -> None:
    """The same gradient for the same batch, partner and weight, though its targets move as ever."""
    method = started(lam=0)
    index = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(seed))[:BATCH]
    step = step_on(method, network, index, weight, coefficient=0.0)
    own = gradient_of(method.loss(step), step, network)
    step.learn = (network,)
    assert torch.allclose(own, gradient_of(Mixup().loss(step), step, network), atol=1e-6)
    assert method.targets[network, index].sum() > 0


@pytest.mark.parametrize("network", [0, 1])
def test_the_other_networks_teacher_moves_the_targets_on_images_as_they_are(network: int) -> None:
    method = started(beta=0.6)
    index = torch.tensor([7, 2, 0, 4, 5])
    step = step_on(method, network, index)
    latest = method.teachers[1 - network](step.streams["all"].views[0]).softmax(dim=1)
    for visits in (1, 2, 3):
        method.loss(step)
        assert torch.allclose(method.targets[network, index], (1 - 0.6**visits) * latest, atol=1e-6)
    others = [i for i in range(SAMPLES) if i not in index.tolist()]
    assert not method.targets[1 - network].any() and not method.targets[network, others].any()


@pytest.mark.parametrize("refine", [False, True])
def test_the_loss_is_the_formula_on_mixed_images_labels_and_targets(refine: bool) -> None:
    method = started(beta=0.5, refine=refine)
    index = torch.tensor([7, 2, 0, 4, 5])
    step = step_on(method, 1, index, weight=0.8, coefficient=2.0)
    images, partner = step.streams["all"].views[0], partners(step.draws["order"], BATCH)
    targets = 0.5 * method.teachers[0](images).softmax(dim=1)
    values = (images, one_hot(step.labels, CLASSES).float(), targets)
    mixed, labels, targets = (0.8 * value + 0.2 * value[partner] for value in values)
    if refine:
        labels = labels * targets / (labels * targets).sum(dim=1, keepdim=True)
    log_p = step.network(1)(mixed).log_softmax(dim=1)
    regularizer = (1 - (targets * log_p.exp().clamp(CLAMP, 1 - CLAMP)).sum(dim=1)).log()
    expected = (-(labels * log_p).sum(dim=1) + 2 * regularizer).mean()
    assert torch.allclose(method.loss(step), expected, atol=1e-5)


@given(st.floats(0, 0.99), st.integers(0, 8), st.floats(0, 300), st.booleans())
def test_targets_lie_in_the_scaled_simplex_and_the_loss_is_finite(
    beta: float, visits: int, scale: float, refine: bool
) -> None:
    method = started(beta=beta, scale=scale, refine=refine)
    for _ in range(visits):
        for network in (0, 1):
            step = step_on(method, network, torch.arange(BATCH))
            assert gradient_of(method.loss(step), step, network).isfinite().all()
    assert method.targets.min() >= 0
    assert torch.allclose(method.targets[:, :BATCH].sum(dim=2), torch.tensor(1 - beta**visits), atol=1e-5)
    soft = method.soft_targets()
    assert torch.allclose(soft.sum(dim=1), torch.ones(SAMPLES), atol=1e-5)
    assert torch.allclose(soft[BATCH:], torch.tensor(1 / CLASSES))


@given(seeds)
def test_permuting_a_batch_permutes_its_targets(seed: int) -> None:
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(seed))
    index = torch.tensor([7, 2, 0, 4, 5])
    plain, permuted = started(), started()
    plain.loss(step_on(plain, 0, index))
    permuted.loss(step_on(permuted, 0, index[order]))
    assert torch.allclose(plain.targets, permuted.targets, atol=1e-6)


@given(seeds, st.floats(0, 100), st.floats(0, 1))
def test_the_regulariser_is_at_most_0_finite_and_pulls_towards_the_target(
    seed: int, scale: float, total: float
) -> None:
    targets = total * normal(seed, BATCH, CLASSES).softmax(dim=1)
    value = early_learning_regularizer(normal(seed + 1, BATCH, CLASSES, scale=scale).softmax(dim=1), targets)
    assert math.log(CLAMP) - 0.01 <= value <= 0
    free = normal(seed + 2, 1, CLASSES).requires_grad_()
    target = targets[:1] / targets[:1].sum().clamp(min=1e-12)
    p = free.softmax(dim=1)
    (gradient,) = torch.autograd.grad(early_learning_regularizer(p, target), free)
    stepped = (free - 0.01 * gradient).detach().softmax(dim=1)
    assert (stepped * target).sum() >= (p * target).sum() - 1e-7  # descending agrees more with the target


def test_what_was_never_averaged_is_uniform() -> None:
    assert torch.equal(as_distributions(torch.zeros(2, CLASSES)), torch.full((2, CLASSES), 1 / CLASSES))
    assert torch.allclose(as_distributions(torch.tensor([[0.1, 0.3]])), torch.tensor([[0.25, 0.75]]))


@given(st.floats(0.5, 0.999), st.floats(0, 1), st.integers(1, 60), st.integers(1, 40))
def test_decays_lie_below_1_never_fall_and_end_at_the_scaled_one(
    decay: float, ramp: float, epochs: int, steps: int
) -> None:
    method = started(epochs, steps, decay=decay, average_ramp=ramp, reference_steps=500)
    total = epochs * steps
    assert len(method.task.decays) == 2
    values = [method.task.decays[0](updates) for updates in range(total)]
    assert all(0 <= value < 1 for value in values) and values == sorted(values)
    scaled = decay ** (500 / total)
    assert method.effective["decay"] == pytest.approx(scaled) and max(values) <= scaled + 1e-12
    if ramp > 0:
        assert values[-1] == pytest.approx(scaled)


def test_at_the_reference_length_the_decay_is_the_published_one() -> None:
    """exp(-5 (1 - t / ramp)^2) decay; and without a ramp the plain mean until the exponential one is older."""
    method = started(10, 100, decay=0.9, average_ramp=0.5, reference_steps=1000)
    assert method.decay_after(249) == pytest.approx(0.9 * math.exp(-5 * 0.25))
    assert method.decay_after(499) == method.decay_after(999) == pytest.approx(0.9)
    mean = started(10, 100, decay=0.9, average_ramp=0, reference_steps=1000)
    assert [mean.decay_after(n) for n in (0, 1, 2)] == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    assert mean.decay_after(8) == pytest.approx(0.9) == mean.decay_after(500)


def test_draws_mix_most_of_the_image_itself_and_the_coefficient_follows_its_ramp() -> None:
    method = started(epochs=10, lam=2.0, ramp=0.5)
    assert method.effective["ramp"] == 5
    first, second = method.passes(Phase("train", 10), 2)
    assert (first.learn, second.learn) == ((0,), (1,))
    drawn = first.draws(Steps(4, BATCH), torch.Generator().manual_seed(0))
    assert drawn["weight"].min() >= 0.5 and drawn["order"].shape == (4, BATCH)
    expected = [2 * math.exp(-5 * (1 - time / 5) ** 2) for time in (2, 2.25, 2.5, 2.75)]
    assert drawn["coefficient"].tolist() == pytest.approx(expected)
    for flat in (method.passes(Phase("train", 10), 5), started(ramp=0, lam=2.0).passes(Phase("train", 10), 0)):
        later = flat[1].draws(Steps(4, BATCH), torch.Generator().manual_seed(0))
        assert later["coefficient"].tolist() == [2.0] * 4
