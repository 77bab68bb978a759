"""What SOP and SOP+ compute, held against their formulas; gradients taken by hand where the rows are concerned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import one_hot

from methods.losses import cross_entropy
from methods.pieces.sparse_noise import FLOOR, label_noise, noisy_prediction, separation, without_noise
from methods.sop import SparseOverParametrization
from methods.sop_plus import SparseOverParametrizationPlus

torch.set_num_threads(1)

SAMPLES, CLASSES, BATCH = 12, 4, 6

seeds = st.integers(0, 2**31 - 1)


def normal(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def labels_of(seed: int, count: int) -> Tensor:
    return torch.randint(CLASSES, (count,), generator=torch.Generator().manual_seed(seed))


class RowTask:
    """A task that keeps learned rows and their rates."""

    def __init__(self, batch_size: int = 128, epochs: int = 300) -> None:
        self.samples, self.classes, self.batch_size, self.epochs = SAMPLES, CLASSES, batch_size, epochs
        self.labels = labels_of(5, SAMPLES)
        self.learned: dict[str, tuple[nn.Parameter, float]] = {}

    def rows(self, name: str, tensor: Tensor, learning_rate: float) -> nn.Parameter:
        self.learned[name] = (nn.Parameter(tensor.clone()), learning_rate)
        return self.learned[name][0]


def started(method: Any, batch_size: int = 128, epochs: int = 300) -> tuple[Any, RowTask]:
    task = RowTask(batch_size, epochs)
    method.start(task)
    return method, task


def step_on(task: RowTask, logits: Tensor, index: Tensor) -> Any:
    return SimpleNamespace(index=index, labels=task.labels[index], logits=lambda: logits)


@given(seeds, st.floats(0.1, 2.0))
def test_frozen_at_its_start_sop_has_the_gradient_of_cross_entropy(seed: int, scale: float) -> None:
    """Where no probability is below the floor; the loss itself is larger by 2 for each sample predicted otherwise."""
    method, task = started(SparseOverParametrization(lr_u=0, lr_v=0))
    assert {rate for _, rate in task.learned.values()} == {0.0}
    logits = normal(seed, BATCH, CLASSES, scale=scale).clamp(-3.5, 3.5).requires_grad_()
    assert logits.softmax(dim=1).min() > FLOOR
    step = step_on(task, logits, torch.arange(BATCH))
    loss, plain = method.loss(step), cross_entropy(logits, step.labels).mean()
    (own,), (expected,) = torch.autograd.grad(loss, logits), torch.autograd.grad(plain, logits)
    assert torch.allclose(own, expected, atol=1e-6)
    wrong = (logits.argmax(dim=1) != step.labels).float().mean()
    assert float((loss - plain).detach()) == pytest.approx(2 * float(wrong), abs=1e-5)


def test_a_sample_below_the_floor_pulls_nothing() -> None:
    method, task = started(SparseOverParametrization())
    logits = torch.zeros(2, CLASSES)
    logits[0, task.labels[0]] = -30.0
    logits.requires_grad_()
    method.loss(step_on(task, logits, torch.arange(2))).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().max() < 1e-6 and logits.grad[1].abs().max() > 0.1


@given(seeds)
def test_the_rows_gradients_are_those_of_the_formula_taken_by_hand(seed: int) -> None:
    method, task = started(SparseOverParametrization())
    with torch.no_grad():
        method.u.copy_(normal(seed, SAMPLES, 1, scale=0.4).clamp(-0.95, 0.95))
        method.v.copy_(normal(seed + 1, SAMPLES, CLASSES, scale=0.2).clamp(-0.95, 0.95))
    index = torch.tensor([7, 2, 9, 4])
    logits = normal(seed + 2, 4, CLASSES)
    method.loss(step_on(task, logits, index)).backward()
    p, u, v, y = logits.softmax(dim=1), method.u[index].detach(), method.v[index].detach(), task.labels[index]
    given = one_hot(y, CLASSES).float()
    predicted = one_hot(logits.argmax(dim=1), CLASSES).float()
    noise = u**2 * given - v**2 * (1 - given)
    raised = (p + noise).clamp(min=FLOOR)
    own, total = (raised * given).sum(dim=1, keepdim=True), raised.sum(dim=1, keepdim=True)
    apart = predicted + noise - given
    by_square = 1 / total - 1 / own  # of -ln(own / total), by what is added at y
    expected_u = (by_square + 2 * (apart * given).sum(dim=1, keepdim=True)) * 2 * u / 4
    expected_v = -2 * apart * (1 - given) * 2 * v / 4
    assert method.u.grad is not None and method.v.grad is not None
    assert torch.allclose(method.u.grad[index], expected_u, rtol=1e-3, atol=1e-5)
    assert torch.allclose(method.v.grad[index], expected_v, rtol=1e-3, atol=1e-5)
    others = [i for i in range(SAMPLES) if i not in index.tolist()]
    assert not method.u.grad[others].any() and not method.v.grad[others].any()


def test_rates_scale_with_batch_and_epochs_so_that_a_training_moves_a_row_as_far() -> None:
    for batch_size, epochs, share in ((128, 300, 1.0), (64, 300, 0.5), (64, 30, 5.0)):
        method, task = started(SparseOverParametrization(lr_u=1, lr_v=10), batch_size, epochs)
        assert (task.learned["u"][1], task.learned["v"][1]) == (share, 10 * share)
        assert method.effective == {"lr_u": share, "lr_v": 10 * share}


@given(seeds, st.floats(1e-8, 30.0))
def test_whatever_the_rows_loss_and_targets_are_finite_and_targets_distributions(seed: int, scale: float) -> None:
    method, task = started(SparseOverParametrization())
    with torch.no_grad():
        method.u.copy_(normal(seed, SAMPLES, 1, scale=scale))
        method.v.copy_(normal(seed + 1, SAMPLES, CLASSES, scale=scale))
    logits = normal(seed + 2, SAMPLES, CLASSES, scale=50.0).requires_grad_()
    loss = method.loss(step_on(task, logits, torch.arange(SAMPLES)))
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()
    assert method.u.detach().abs().max() <= 1 and method.v.detach().abs().max() <= 1
    targets, clean = method.soft_targets(), method.clean_probability()
    assert torch.allclose(targets.sum(dim=1), torch.ones(SAMPLES), atol=1e-5) and targets.min() >= 0
    assert torch.equal(clean, targets[torch.arange(SAMPLES), task.labels])


@given(seeds)
def test_the_noise_says_what_the_label_should_have_been(seed: int) -> None:
    labels = labels_of(seed, SAMPLES)
    untouched = without_noise(torch.zeros(SAMPLES, 1), torch.zeros(SAMPLES, CLASSES), labels)
    assert torch.equal(untouched, one_hot(labels, CLASSES).float())
    truth = (labels + 1) % CLASSES
    moved = without_noise(torch.ones(SAMPLES, 1), one_hot(truth, CLASSES).float(), labels)
    assert torch.equal(moved, one_hot(truth, CLASSES).float())
    nothing_left = without_noise(torch.ones(SAMPLES, 1), torch.zeros(SAMPLES, CLASSES), labels)
    assert torch.allclose(nothing_left, (1 - one_hot(labels, CLASSES)) / (CLASSES - 1))


@given(seeds)
def test_noise_that_explains_the_label_takes_the_pull_off_the_network(seed: int) -> None:
    """Growing u only lowers the loss's gradient at the network, to a fraction of cross-entropy's at u = 1."""
    labels = torch.zeros(1, dtype=torch.int64)
    logits = torch.tensor([[-4.0, 2.0, 0.0, 0.0]]) + normal(seed, 1, CLASSES, scale=0.1)
    sizes = []
    for u in (0.0, 0.1, 0.3, 1.0):
        free = logits.clone().requires_grad_()
        added, removed = label_noise(torch.full((1, 1), u), torch.zeros(1, CLASSES), labels)
        q = noisy_prediction(free.softmax(dim=1), added, removed)
        sizes.append(float(torch.autograd.grad(-q[0, 0].log(), free)[0].abs().sum()))
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 0.01 * sizes[0]


def test_rows_of_wrong_labels_grow_and_those_of_right_ones_do_not() -> None:
    """A network fixed at the truth, plain SGD on the rows: the noise ends as what was wrong with the labels."""
    method, task = started(SparseOverParametrization())
    truth = task.labels.clone()
    truth[:4] = (truth[:4] + 1) % CLASSES
    logits = 4.0 * one_hot(truth, CLASSES).float()
    optimizer = torch.optim.SGD([{"params": [rows], "lr": rate} for rows, rate in task.learned.values()])
    step = step_on(task, logits, torch.arange(SAMPLES))
    for _ in range(60):
        optimizer.zero_grad()
        method.loss(step).backward()
        optimizer.step()
    assert torch.equal(method.soft_targets().argmax(dim=1), truth)
    assert method.clean_probability()[4:].min() > 0.99 and method.clean_probability()[:4].max() < 0.01
    assert method.u[4:].detach().abs().max() < 1e-4 < 0.9 < method.u[:4].detach().abs().min()


class Linear(nn.Module):
    """A linear network on flattened images; `alone`: a network of its own for SOP+, called once on both views."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, CLASSES)
        with torch.no_grad():
            self.layer.weight.copy_(normal(11, CLASSES, 9))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def two_views(task: RowTask, seed: int, apart: float) -> Any:
    weak = normal(seed, BATCH, 1, 3, 3)
    views = [weak, weak + apart * normal(seed + 1, BATCH, 1, 3, 3)]
    network = Linear()
    index = torch.arange(BATCH)
    return SimpleNamespace(
        index=index,
        labels=task.labels[index],
        streams={"all": SimpleNamespace(views=views)},
        network=lambda number: network,
        logits=lambda: network(views[0]),
    )


@given(seeds)
def test_sop_plus_is_sop_plus_its_two_terms(seed: int) -> None:
    plus, task = started(SparseOverParametrizationPlus(consistency=0.9, balance=0.1))
    bare, _ = started(SparseOverParametrizationPlus(consistency=0.0, balance=0.0))
    sop, _ = started(SparseOverParametrization())
    step = two_views(task, seed, apart=0.5)
    assert torch.allclose(bare.loss(step), sop.loss(step))
    weak, strong = (step.network(0)(view) for view in step.streams["all"].views)
    p = weak.softmax(dim=1)
    apart = (p * (p.log() - strong.log_softmax(dim=1))).sum(dim=1).mean()
    mean = sop.fit(weak, step)[1].mean(dim=0)
    unbalanced = (1 / CLASSES * (1 / CLASSES / mean).log()).sum()
    assert torch.allclose(plus.loss(step), sop.loss(step) + 0.9 * apart + 0.1 * unbalanced, rtol=1e-3, atol=1e-4)


def test_consistency_moves_the_strong_view_only_and_vanishes_when_views_agree() -> None:
    both, task = started(SparseOverParametrizationPlus(consistency=1.0, balance=0.0))
    sop, _ = started(SparseOverParametrization())
    same = two_views(task, 3, apart=0.0)
    assert torch.allclose(both.loss(same), sop.loss(same), atol=1e-6)
    step = two_views(task, 3, apart=1.0)
    weak, strong = (view.requires_grad_() for view in (v.detach().clone() for v in step.streams["all"].views))
    step.streams["all"].views[:] = [weak, strong]
    grown = torch.autograd.grad(both.loss(step), (weak, strong))
    alone = torch.autograd.grad(sop.loss(step), weak)[0]
    assert torch.allclose(grown[0], alone, atol=1e-6) and grown[1].abs().max() > 0


@given(seeds)
def test_the_second_term_of_the_loss_never_reaches_the_network(seed: int) -> None:
    logits = normal(seed, BATCH, CLASSES).requires_grad_()
    u, v = torch.full((BATCH, 1), 0.5, requires_grad=True), torch.full((BATCH, CLASSES), 0.5, requires_grad=True)
    added, removed = label_noise(u, v, labels_of(seed, BATCH))
    gradients = torch.autograd.grad(
        separation(logits, labels_of(seed, BATCH), added, removed).sum(), (logits, u, v), allow_unused=True
    )
    assert gradients[0] is None and gradients[1] is not None and gradients[2] is not None
