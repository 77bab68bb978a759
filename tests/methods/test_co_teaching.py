"""Co-teaching, co-teaching+ and JoCoR: what is kept, who learns from whom, and what they are without their parts."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.ce_ensemble import CrossEntropyEnsemble
from methods.co_teaching import CoTeaching
from methods.co_teaching_plus import CoTeachingPlus
from methods.interface import Method, Phase, Setting, Steps
from methods.jocor import JointCoRegularization
from methods.losses import cross_entropy
from methods.pieces.small_loss import (
    forget_rate,
    keep_counts,
    linspace_ramp,
    mean_over,
    smallest,
    symmetric_divergence,
)

BATCH, CLASSES, EPOCHS = 12, 4, 20
TRAIN = Phase("train", EPOCHS)
seeds = st.integers(0, 2**31)
rates = st.floats(0.0, 1.0)
few = settings(max_examples=25)


def scores_of(seed: int, count: int = BATCH) -> tuple[Tensor, Tensor, Tensor]:
    """Two networks' logits, each a leaf that takes a gradient, and labels."""
    generator = torch.Generator().manual_seed(seed)
    pair = [(3 * torch.randn(count, CLASSES, generator=generator)).requires_grad_() for _ in range(2)]
    return pair[0], pair[1], torch.randint(CLASSES, (count,), generator=generator)


def started(method: Method, rate: float = 0.4, epochs: int = EPOCHS, samples: int = BATCH) -> Any:
    """The method on a task whose states are plain tensors."""
    task = SimpleNamespace(
        samples=samples,
        classes=CLASSES,
        epochs=epochs,
        privileges={"noise_rate": rate},
        labels=torch.zeros(samples, dtype=torch.int64),
        state=lambda name, tensor: tensor,
    )
    method.start(task)
    return method


def loss_of(method: Any, first: Tensor, second: Tensor, labels: Tensor, epoch: int = EPOCHS - 1, at: int = 0) -> Tensor:
    """The loss of step `at` of an epoch of three steps whose batch gives these logits."""
    (work,) = method.passes(TRAIN, epoch)
    draws = work.draws(Steps(3, BATCH), torch.Generator())
    pair = (first, second)
    step = SimpleNamespace(
        labels=labels,
        index=torch.arange(len(labels)),
        learn=(0, 1),
        draws={name: value[at] for name, value in draws.items()},
        logits=lambda network=0: pair[network],
    )
    loss: Tensor = method.loss(step)
    return loss


# ---- Pieces ----------------------------------------------------------------------------------------------------------


@given(rates, st.integers(0, 60), st.floats(0.1, 5.0))
def test_the_forget_rate_begins_at_nothing_never_falls_and_ends_at_the_noise_rate(
    rate: float, length: int, exponent: float
) -> None:
    schedule = [forget_rate(epoch, rate, length, exponent) for epoch in range(length + 3)]
    assert schedule[0] == 0 or length == 0
    assert all(a <= b for a, b in itertools.pairwise(schedule))
    assert all(value == rate for value in schedule[length:])


@given(rates, st.integers(2, 40))
def test_the_forget_rate_is_the_released_array(rate: float, length: int) -> None:
    array = torch.linspace(0, rate, length, dtype=torch.float64)
    ours = torch.tensor([forget_rate(epoch, rate, length) for epoch in range(length)], dtype=torch.float64)
    assert torch.allclose(ours, array, atol=1e-12)
    assert linspace_ramp(length - 1, length) == 1


@given(st.integers(0, 1000), st.integers(1, 300))
def test_what_is_kept_is_the_whole_part_of_its_share_and_at_least_one(thousandths: int, batch: int) -> None:
    counts = keep_counts(thousandths / 1000, batch).tolist()
    exact = [math.floor((1 - Fraction(thousandths, 1000)) * n) for n in range(batch + 1)]
    assert counts == [min(max(1, kept), n) for n, kept in enumerate(exact)]


@few
@given(seeds, st.integers(1, BATCH), st.booleans())
def test_the_smallest_are_as_many_as_asked_and_no_larger_than_the_rest(seed: int, count: int, ties: bool) -> None:
    losses = torch.rand(BATCH, generator=torch.Generator().manual_seed(seed))
    losses = (3 * losses).round() if ties else losses
    mask = smallest(losses, torch.tensor(count))
    assert mask.sum() == count
    if count < BATCH:
        assert losses[mask].max() <= losses[~mask].min()


@few
@given(seeds, st.integers(0, 2**BATCH - 1))
def test_the_smallest_among_some_are_the_smallest_of_these_alone(seed: int, bits: int) -> None:
    losses = torch.rand(BATCH, generator=torch.Generator().manual_seed(seed))
    among = torch.tensor([bool(bits >> i & 1) for i in range(BATCH)])
    count = keep_counts(0.4, BATCH).take(among.sum())
    mask = smallest(losses, count, among)
    assert not (mask & ~among).any() and mask.sum() == count
    alone = torch.zeros(BATCH, dtype=torch.bool)
    alone[among] = smallest(losses[among], count)
    assert torch.equal(mask, alone)


@few
@given(seeds)
def test_the_mean_over_a_mask_is_that_of_its_values_and_zero_of_none(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(BATCH, generator=generator, requires_grad=True)
    mask = torch.rand(BATCH, generator=generator) < 0.5
    expected = losses[mask].mean() if mask.any() else torch.tensor(0.0)
    assert torch.allclose(mean_over(losses, mask), expected)
    (gradient,) = torch.autograd.grad(mean_over(losses, torch.zeros_like(mask)), losses)
    assert not gradient.any()


@few
@given(seeds)
def test_the_divergence_is_symmetric_never_negative_and_nothing_between_equals(seed: int) -> None:
    first, second, _ = scores_of(seed)
    both = symmetric_divergence(first, second)
    assert (both >= 0).all()
    assert torch.equal(both, symmetric_divergence(second, first))
    assert not symmetric_divergence(first, first.clone()).any()
    p, q = first.double().softmax(dim=1), second.double().softmax(dim=1)
    expected = (p * (p / q).log()).sum(dim=1) + (q * (q / p).log()).sum(dim=1)
    assert torch.allclose(both.double(), expected, rtol=1e-4)


# ---- Co-teaching -----------------------------------------------------------------------------------------------------


@few
@given(seeds, rates)
def test_each_network_learns_from_the_samples_that_the_other_finds_easiest(seed: int, rate: float) -> None:
    first, second, labels = scores_of(seed)
    method = started(CoTeaching(), rate)
    gradients = torch.autograd.grad(loss_of(method, first, second, labels), (first, second))
    count = int(keep_counts(rate, BATCH)[BATCH])
    for gradient, other in zip(gradients, (second, first), strict=True):
        learnt = gradient.abs().sum(dim=1) > 0
        assert learnt.sum() == count
        ranked = cross_entropy(other, labels)
        if count < BATCH:
            assert ranked[learnt].max() <= ranked[~learnt].min()
    assert torch.equal(method.selected(), (gradients[0].abs().sum(1) > 0) & (gradients[1].abs().sum(1) > 0))


@pytest.mark.parametrize("method", [CoTeaching, CoTeachingPlus, JointCoRegularization])
@few
@given(seeds, rates)
def test_exchanging_the_networks_exchanges_their_gradients(method: type[CoTeaching], seed: int, rate: float) -> None:
    first, second, labels = scores_of(seed)
    loss = loss_of(started(method(), rate), first, second, labels)
    swapped = loss_of(started(method(), rate), second, first, labels)
    assert torch.allclose(loss, swapped)
    gradients = torch.autograd.grad(loss, (first, second))
    others = torch.autograd.grad(swapped, (first, second))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients, others, strict=True))


@pytest.mark.parametrize("method", [CoTeaching(), CoTeachingPlus(init=0.9)])
def test_without_forgetting_it_trains_two_networks_by_cross_entropy(
    method: CoTeaching, trained: Any, equal: Any
) -> None:
    """Bit for bit, through the core: a rate of 0, and batches of 8 and of 9."""
    assert equal(trained(method, rate=0.0), trained(CrossEntropyEnsemble(), rate=0.0))
    assert not equal(trained(method, rate=0.5), trained(CrossEntropyEnsemble(), rate=0.5))


def test_lengths_scale_with_the_training_and_are_recorded() -> None:
    assert started(CoTeaching(), epochs=200).effective == {"gradual": 10}
    assert started(CoTeaching(), epochs=2).effective == {"gradual": 1}
    assert started(CoTeachingPlus(), epochs=200).effective == {"gradual": 10, "init": 20}


@pytest.mark.parametrize("method", [CoTeaching, CoTeachingPlus, JointCoRegularization])
@pytest.mark.parametrize("rate", [0.0, 0.9, 1.0])
def test_a_last_batch_of_two_gives_a_finite_loss(method: type[CoTeaching], rate: float) -> None:
    first, second, labels = scores_of(0, count=2)
    loss = loss_of(started(method(), rate), first, second, labels)
    gradients = torch.autograd.grad(loss, (first, second))
    assert loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients)


# ---- Co-teaching+ ----------------------------------------------------------------------------------------------------


@few
@given(seeds, rates)
def test_plus_before_its_start_is_co_teaching(seed: int, rate: float) -> None:
    first, second, labels = scores_of(seed)
    for epoch in (0, 1):
        plus, plain = started(CoTeachingPlus(init=0.1), rate), started(CoTeaching(), rate)
        assert torch.equal(loss_of(plus, first, second, labels, epoch), loss_of(plain, first, second, labels, epoch))
        assert torch.equal(plus.kept, plain.kept)


@few
@given(seeds, rates, st.booleans())
def test_plus_learns_from_disagreement_only(seed: int, rate: float, double_softmax: bool) -> None:
    first, second, labels = scores_of(seed)
    method = started(CoTeachingPlus(double_softmax=double_softmax), rate)
    disagree = first.argmax(dim=1) != second.argmax(dim=1)
    loss = loss_of(method, first, second, labels)
    gradients = torch.autograd.grad(loss, (first, second))
    for gradient in gradients:
        learnt = gradient.abs().sum(dim=1) > 0
        assert not (learnt & ~disagree).any()
        assert learnt.sum() <= keep_counts(rate, BATCH)[disagree.sum()]
    assert method.selected()[~disagree].all(), "no verdict where the networks agree"


def test_plus_counts_the_steps_that_train_on_a_whole_batch_as_the_code_does() -> None:
    """On CIFAR-10: epoch x step < 5,000, a sixth of the steps of epochs 20 to 199, and fewer the later the epoch."""
    method = started(CoTeachingPlus(), epochs=200)
    share = []
    for epoch in range(200):
        (work,) = method.passes(TRAIN, epoch)
        whole = work.draws(Steps(390, 128), torch.Generator())["whole"]
        if epoch >= 20:
            assert whole.tolist() == [epoch * step < 5000 for step in range(390)]
        share.append(float(whole.float().mean()))
    assert not any(share[:20]) and sum(share[20:]) / 180 == pytest.approx(0.167, abs=0.001)
    # a run of 30 epochs of 20 steps has its part of them, too
    short = started(CoTeachingPlus(), epochs=30)
    draws = [short.passes(TRAIN, epoch)[0].draws(Steps(20, 64), torch.Generator()) for epoch in range(30)]
    assert 0.1 < sum(int(values["whole"].sum()) for values in draws) / (27 * 20) < 0.3


def test_plus_without_disagreement_trains_on_everything_at_first_and_on_nothing_later() -> None:
    first, _, labels = scores_of(3)
    second = (first.detach() * 1.5).requires_grad_()
    method = started(CoTeachingPlus(init=0.0, agreement=0.5))
    # of epochs of three steps those in which epoch x step is under half of all 60 steps
    early = loss_of(method, first, second, labels, epoch=EPOCHS // 2, at=2)
    expected = cross_entropy(first, labels).mean() + cross_entropy(second, labels).mean()
    assert torch.allclose(early, expected)
    late = loss_of(method, first, second, labels, epoch=EPOCHS - 4, at=2)
    assert late == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(late, (first, second)))


def test_double_softmax_is_cross_entropy_of_probabilities() -> None:
    first, second, labels = scores_of(1)
    assert (first.argmax(dim=1) != second.argmax(dim=1)).any()
    doubled = loss_of(started(CoTeachingPlus(init=0.0, double_softmax=True), 0.0), first, second, labels)
    among = first.argmax(dim=1) != second.argmax(dim=1)
    expected = sum(cross_entropy(scores.softmax(dim=1), labels)[among].mean() for scores in (first, second))
    assert torch.allclose(doubled, torch.as_tensor(expected))


def test_plus_says_where_no_epoch_is_left_for_it() -> None:
    facts: dict[str, Any] = {"data_set": "digits", "noise": "sym", "rate": 0.4, "classes": 4, "samples": 99}
    facts |= {"image_shape": (8, 8, 3), "batch_size": 8, "augmentation": "none", "given": frozenset()}
    assert "--epochs 2" in str(CoTeachingPlus().unsuitable(Setting(epochs=1, **facts)))
    assert CoTeachingPlus().unsuitable(Setting(epochs=2, **facts)) is None
    assert CoTeachingPlus(init=0.0).unsuitable(Setting(epochs=1, **facts)) is None


# ---- JoCoR -----------------------------------------------------------------------------------------------------------


@few
@given(seeds, rates)
def test_jocor_without_its_divergence_is_joint_small_loss(seed: int, rate: float) -> None:
    first, second, labels = scores_of(seed)
    joint = cross_entropy(first, labels) + cross_entropy(second, labels)
    count = int(keep_counts(rate, BATCH)[BATCH])
    method = started(JointCoRegularization(lam=0.0), rate)
    assert torch.allclose(loss_of(method, first, second, labels), joint.sort().values[:count].mean())
    assert method.selected().sum() == count


@few
@given(seeds)
def test_jocor_of_equal_networks_is_their_weighted_cross_entropy(seed: int) -> None:
    first, _, labels = scores_of(seed)
    loss = loss_of(started(JointCoRegularization(lam=0.25), 0.0), first, first, labels)
    assert torch.allclose(loss, 0.75 * 2 * cross_entropy(first, labels).mean())


def test_jocor_weighs_cross_entropy_and_divergence() -> None:
    first, second, labels = scores_of(5)
    loss = loss_of(started(JointCoRegularization(lam=0.9), 0.5), first, second, labels)
    supervised = cross_entropy(first, labels) + cross_entropy(second, labels)
    joint = 0.1 * supervised + 0.9 * symmetric_divergence(first, second)
    assert torch.allclose(loss, joint.sort().values[: BATCH // 2].mean())
