"""What methods do beyond a loss per sample: states, draws, streams, penalties, phases; on a stand-in for the core."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods import losses
from methods.anl_ce import ActiveNegativeCrossEntropy
from methods.anl_ce_er import ActiveNegativeEntropyRegularized
from methods.anl_fl import ActiveNegativeFocal
from methods.ce import CrossEntropy
from methods.ce_clean import CrossEntropyClean
from methods.ce_ema import REFERENCE_STEPS, CrossEntropyAverage
from methods.ce_ensemble import CrossEntropyEnsemble
from methods.ce_oracle import CrossEntropyOracle
from methods.ce_strong import CrossEntropyStrong
from methods.elr import EarlyLearningRegularization
from methods.eps_softmax import EpsilonSoftmax
from methods.forward import Forward
from methods.forward_estimated import ForwardEstimated, anchor_transition
from methods.gjs import GeneralizedJensenShannon
from methods.interface import Method, Phase, Setting, Steps
from methods.jal_ce import JointAsymmetric
from methods.js import JensenShannon
from methods.mixup import Mixup
from methods.nce_ael import NormalizedAndAsymmetricExponential
from methods.nce_agce import NormalizedAndAsymmetricGeneralized
from methods.nce_aul import NormalizedAndAsymmetricUnhinged
from methods.nce_mae import NormalizedAndAbsolute
from methods.nce_rce import NormalizedAndReverse
from methods.nfl_mae import NormalizedFocalAndAbsolute
from methods.nfl_rce import NormalizedFocalAndReverse

torch.set_num_threads(1)

SAMPLES, CLASSES, SIZE = 11, 5, 3
TRAIN = Phase("train", 1)


class FakeNetwork(nn.Module):
    """A linear network on flattened images."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(SIZE * SIZE, CLASSES)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


@dataclass
class FakeTask:
    """A task with states, and whatever posteriors `infer` shall return."""

    labels: Tensor
    privileges: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 4
    classes: int = CLASSES
    batch_size: int = 4
    steps_per_epoch: int = 3
    posteriors: Tensor | None = None
    held_labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    held_posteriors: Tensor | None = None
    states: dict[str, Tensor] = field(default_factory=dict)
    decay: float | None = None

    @property
    def samples(self) -> int:
        return len(self.labels)

    def infer(self, network: int = 0, view: str = "none", index: Any = None, output: Any = None) -> Tensor:
        assert self.posteriors is not None
        return self.posteriors.log()

    def infer_held(self, network: int = 0) -> Tensor:
        assert self.held_posteriors is not None
        return self.held_posteriors.log()

    def state(self, name: str, tensor: Tensor) -> Tensor:
        self.states[name] = tensor.clone()
        return self.states[name]

    def average(self, network: int, decay: float) -> Callable[[Tensor], Tensor]:
        self.decay = decay
        return FakeNetwork(seed=7)


class FakeStep:
    """One step on given images; view v of an image is the image shifted by v / 4."""

    def __init__(self, images: Tensor, labels: Tensor, index: Tensor, networks: int = 1, views: int = 1) -> None:
        self.epoch = 0
        self.learn = tuple(range(networks))
        self.draws: Mapping[str, Tensor] = {}
        batch = SimpleNamespace(index=index, labels=labels, views=[images + view / 4 for view in range(views)])
        self.streams = {"all": batch}
        self.labels, self.index = labels, index
        self.networks = [FakeNetwork(seed) for seed in range(networks)]

    def logits(self, stream: str | None = None, view: int = 0, network: int = 0) -> Tensor:
        logits: Tensor = self.networks[network](self.streams[stream or "all"].views[view])
        return logits

    def network(self, number: int) -> FakeNetwork:
        return self.networks[number]


def images_of(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def labels_of(count: int, seed: int = 1) -> Tensor:
    return torch.randint(CLASSES, (count,), generator=torch.Generator().manual_seed(seed))


def started(method: Method, **fields: Any) -> tuple[Any, FakeTask]:
    task = FakeTask(labels_of(SAMPLES), **fields)
    method.start(task)
    return method, task


def step_of(count: int = SAMPLES, networks: int = 1, views: int = 1) -> FakeStep:
    return FakeStep(images_of(count), labels_of(SAMPLES)[:count], torch.arange(count), networks, views)


def ce_of(step: FakeStep, labels: Tensor | None = None, network: int = 0) -> Tensor:
    return losses.cross_entropy(step.logits(network=network), step.labels if labels is None else labels).mean()


# ---- Mixup -----------------------------------------------------------------------------------------------------------


def test_mixup_with_share_one_is_cross_entropy() -> None:
    step = step_of()
    step.draws = {"weight": torch.tensor(1.0), "order": torch.rand(20)}
    assert torch.allclose(Mixup().loss(step), ce_of(step))


def test_mixup_with_share_zero_is_cross_entropy_of_the_partners() -> None:
    step = step_of()
    step.draws = {"weight": torch.tensor(0.0), "order": torch.rand(20)}
    assert torch.allclose(Mixup().loss(step), ce_of(step))


def test_mixup_mixes_images_and_labels_by_the_same_partner() -> None:
    step = step_of(count=3)
    step.draws = {"weight": torch.tensor(0.25), "order": torch.tensor([0.5, 0.9, 0.1, 0.0])}
    partner = torch.tensor([2, 0, 1])  # the ranks of the first three uniforms
    images = step.streams["all"].views[0]
    logits = step.network(0)(0.25 * images + 0.75 * images[partner])
    own, other = (losses.cross_entropy(logits, labels) for labels in (step.labels, step.labels[partner]))
    assert torch.allclose(Mixup().loss(step), (0.25 * own + 0.75 * other).mean())


@pytest.mark.parametrize("alpha", [0.3, 1.0, 8.0])
def test_mixup_draws_are_beta_distributed_and_repeat(alpha: float) -> None:
    (work,) = Mixup(alpha=alpha).passes(TRAIN, 0)
    first, again = (work.draws(Steps(4000, 6), torch.Generator().manual_seed(3)) for _ in range(2))
    assert first["order"].shape == (4000, 6) and first["weight"].shape == (4000,)
    assert all(torch.equal(first[name], again[name]) for name in first)
    share = first["weight"]
    assert share.min() >= 0 and share.max() <= 1
    deviation = math.sqrt(1 / (4 * (2 * alpha + 1)))
    assert abs(float(share.mean()) - 0.5) < 5 * deviation / math.sqrt(4000)
    assert float(share.std()) == pytest.approx(deviation, rel=0.05)


# ---- States ----------------------------------------------------------------------------------------------------------


def test_elr_without_its_term_is_cross_entropy_with_and_without_visits() -> None:
    method, _ = started(EarlyLearningRegularization(lam=0.0))
    step = step_of()
    for _ in range(2):
        assert torch.allclose(method.loss(step), ce_of(step))


def test_elr_targets_are_a_running_average_of_what_was_visited() -> None:
    method, task = started(EarlyLearningRegularization(lam=3.0, beta=0.7))
    step = FakeStep(images_of(4), labels_of(4), torch.tensor([7, 2, 9, 4]))
    for visits in (1, 2, 3):
        method.loss(step)
        sums = task.states["targets"].sum(dim=1)
        assert torch.allclose(sums[step.index], torch.full((4,), 1 - 0.7**visits), atol=1e-5)
    others = [i for i in range(SAMPLES) if i not in step.index.tolist()]
    assert not task.states["targets"][others].any()
    # constant predictions: the average is the prediction itself, in the order of the index
    probabilities = step.logits().softmax(dim=1).clamp(1e-4, 1 - 1e-4)
    expected = (1 - 0.7**3) * probabilities / probabilities.sum(dim=1, keepdim=True)
    assert torch.allclose(task.states["targets"][step.index], expected, atol=1e-5)
    soft = method.soft_targets()
    assert torch.allclose(soft.sum(dim=1), torch.ones(SAMPLES))
    assert torch.allclose(soft[others], torch.full((len(others), CLASSES), 1 / CLASSES))


def test_elr_first_step_by_hand_and_its_pull_towards_the_target() -> None:
    method, task = started(EarlyLearningRegularization(lam=2.0, beta=0.9))
    step = step_of(count=4)
    loss = method.loss(step)
    p = step.logits().softmax(dim=1).clamp(1e-4, 1 - 1e-4)
    term = (1 - (0.1 * p / p.sum(dim=1, keepdim=True) * p).sum(dim=1)).log().mean()
    assert term < 0
    assert torch.allclose(loss, ce_of(step) + 2 * term)
    assert not task.states["targets"].requires_grad


# ---- Views, networks, streams ----------------------------------------------------------------------------------------


def test_gjs_draws_two_views_and_compares_them() -> None:
    method = GeneralizedJensenShannon(weight=0.3)
    (work,) = method.passes(TRAIN, 0)
    assert work.streams["all"].views == ("weak", "weak")
    step = step_of(views=2)
    views = [step.logits(view=0), step.logits(view=1)]
    assert torch.allclose(method.loss(step), losses.generalized_jensen_shannon(views, step.labels, 0.3).mean())


def test_gjs_of_equal_views_is_js_and_disagreement_costs() -> None:
    step = step_of(views=2)
    apart = GeneralizedJensenShannon(weight=0.3).loss(step)
    step.streams["all"].views[1] = step.streams["all"].views[0]
    together = GeneralizedJensenShannon(weight=0.3).loss(step)
    js = JensenShannon(weight=0.3).losses(step.logits(), step.labels).mean()
    assert torch.allclose(together, js, atol=1e-6)
    assert not torch.allclose(apart, together)


@pytest.mark.parametrize("cls", [JensenShannon, GeneralizedJensenShannon])
def test_unscaled_jensen_shannon_is_the_divergence_itself(cls: type[Method]) -> None:
    step = step_of(views=2)
    ratio = cls(weight=0.1, scaled=False).loss(step) / cls(weight=0.1).loss(step)
    assert ratio.item() == pytest.approx(-0.9 * math.log(0.9), rel=1e-5)


def test_an_ensemble_has_as_many_networks_as_members_and_sums_their_losses() -> None:
    method = CrossEntropyEnsemble(members=3)
    assert method.networks == 3
    assert CrossEntropyEnsemble.declaration()["networks"] == "depends on a parameter"
    assert method.passes(TRAIN, 0)[0].learn == (0, 1, 2)
    step = step_of(networks=3)
    assert torch.allclose(method.loss(step), sum(ce_of(step, network=k) for k in range(3)))


def test_ce_strong_learns_from_the_strong_view_only() -> None:
    (work,) = CrossEntropyStrong().passes(TRAIN, 0)
    assert work.streams["all"].views == ("strong",)


def test_ce_ema_scales_its_decay_with_the_steps_and_predicts_with_the_average() -> None:
    method, task = started(CrossEntropyAverage(decay=0.999))
    steps = task.epochs * task.steps_per_epoch
    assert task.decay == pytest.approx(0.999 ** (REFERENCE_STEPS / steps))
    assert method.effective == {"decay": task.decay}
    # what is left of the first weights doesn't depend on the length
    assert task.decay**steps == pytest.approx(0.999**REFERENCE_STEPS)
    images = images_of(4)
    expected = FakeNetwork(seed=7)(images).log_softmax(dim=1)
    assert torch.allclose(method.predict([FakeNetwork()], images), expected)


def test_ce_clean_learns_the_true_labels_of_the_batch() -> None:
    clean = labels_of(SAMPLES, seed=5)
    method, _ = started(CrossEntropyClean(), privileges={"clean_labels": clean})
    step = FakeStep(images_of(3), labels_of(3), torch.tensor([8, 0, 5]))
    assert torch.allclose(method.loss(step), ce_of(step, labels=clean[step.index]))


def test_ce_oracle_streams_the_right_samples_and_no_others() -> None:
    clean = labels_of(SAMPLES).clone()
    wrong = [1, 4, 10]
    clean[wrong] = (clean[wrong] + 1) % CLASSES
    method, _ = started(CrossEntropyOracle(), privileges={"clean_labels": clean})
    (work,) = method.passes(TRAIN, 0)
    index = work.streams["all"].index
    assert index is not None
    assert index.tolist() == [i for i in range(SAMPLES) if i not in wrong]
    assert method.selected().tolist() == [i not in wrong for i in range(SAMPLES)]


def test_ce_oracle_says_when_nothing_is_right() -> None:
    with pytest.raises(ValueError, match="no samples"):
        started(CrossEntropyOracle(), privileges={"clean_labels": (labels_of(SAMPLES) + 1) % CLASSES})
    setting = Setting("x", "sym", 1.0, 10, 100, (1, 8, 8), 2, 32, "none", frozenset({"clean_labels"}))
    assert CrossEntropyOracle().unsuitable(setting) is not None
    assert CrossEntropyOracle().unsuitable(SimpleNamespace(noise="sym", rate=0.4)) is None


# ---- Loss correction -------------------------------------------------------------------------------------------------


def transition() -> Tensor:
    """Pair flips of different rates, dominated by the diagonal."""
    matrix = torch.diag(torch.tensor([0.9, 0.8, 0.7, 0.6, 1.0]))
    for row, rate in enumerate((0.1, 0.2, 0.3, 0.4)):
        matrix[row, row + 1] = rate
    return matrix


def test_forward_uses_the_matrix_that_it_was_given() -> None:
    method, _ = started(Forward(), privileges={"transition_matrix": transition()})
    assert Forward.needs == ("transition_matrix",)
    step = step_of()
    p = step.logits().softmax(dim=1)
    assert torch.allclose(method.loss(step), -((p @ transition()).gather(1, step.labels[:, None])).log().mean())


@pytest.mark.parametrize("percentile", [97.0, 100.0])
def test_anchor_points_recover_the_matrix_from_perfect_posteriors(percentile: float) -> None:
    clean = torch.arange(CLASSES).repeat(200)
    assert torch.allclose(anchor_transition(transition()[clean], 100.0), transition())
    # with ties away: every posterior a little blurred, the 97th percentile still lies among a class's own samples
    blur = torch.linspace(0, 0.01, 1000)[:, None]
    posteriors = transition()[clean] * (1 - blur) + blur / CLASSES
    assert torch.allclose(anchor_transition(posteriors, percentile), transition(), atol=0.01)


def test_an_anchor_point_lies_strictly_under_the_percentile() -> None:
    column = torch.linspace(0.01, 0.99, 99)
    posteriors = torch.stack([column, 1 - column], dim=1)
    # ceil(0.9 * 98) = 89 is the first left out, so 88 is the anchor
    assert torch.allclose(anchor_transition(posteriors, 90.0)[0], posteriors[88])
    assert torch.allclose(anchor_transition(posteriors, 100.0)[0], posteriors[98])
    saturated = torch.tensor([[1.0, 0.0]] * 10 + [[0.8, 0.2]] * 10)
    assert torch.allclose(anchor_transition(saturated, 97.0)[0], torch.tensor([0.8, 0.2]))
    constant = torch.full((6, 2), 0.5)
    assert torch.allclose(anchor_transition(constant, 97.0), torch.full((2, 2), 0.5))


def test_forward_estimated_trains_by_cross_entropy_then_estimates_then_starts_anew() -> None:
    posteriors = transition()[torch.arange(CLASSES).repeat(20)]
    method, task = started(ForwardEstimated(percentile=100), posteriors=posteriors)
    estimate, train = method.phases()
    assert (estimate.name, estimate.epochs, estimate.initialise) == ("estimate", 4, ())
    assert (train.name, train.epochs, train.initialise) == ("train", 4, (0,))
    step = step_of()
    for epoch in range(3):
        method.end_epoch(estimate, epoch)
        assert torch.allclose(method.loss(step), ce_of(step))
    method.end_epoch(estimate, 3)
    assert torch.allclose(task.states["transition"], transition())
    expected = losses.forward_corrected(step.logits(), step.labels, transition()).mean()
    assert torch.allclose(method.loss(step), expected)
    task.posteriors = None  # and never again
    method.end_epoch(train, 3)


def test_forward_estimated_reads_the_matrix_where_the_noisy_hold_out_fits_best() -> None:
    anchors = torch.arange(CLASSES).repeat(20)
    method, task = started(ForwardEstimated(percentile=100))
    estimate, _ = method.phases()
    task.held_labels = torch.arange(CLASSES)
    memorised = torch.full((CLASSES, CLASSES), 0.01) + torch.eye(CLASSES) * (1 - 0.01 * CLASSES)
    fits = [0.3, 0.9, 0.5, 0.4]  # the posterior of the held-out label, epoch by epoch
    for epoch, fit in enumerate(fits):
        task.posteriors = (transition() if fit == max(fits) else memorised)[anchors]
        rest = (1 - fit) / (CLASSES - 1)
        task.held_posteriors = torch.full((CLASSES, CLASSES), rest) + torch.eye(CLASSES) * (fit - rest)
        method.end_epoch(estimate, epoch)
    assert torch.allclose(task.states["transition"], transition())


# ---- Penalties -------------------------------------------------------------------------------------------------------


def penalised() -> list[tuple[Method, Callable[[FakeStep], Tensor]]]:
    """Methods with an L1 term of 0.01, and their loss without it."""
    nce, nfl = losses.normalized_cross_entropy, losses.normalized_focal
    nnce, nnfl = losses.normalized_negative_cross_entropy, losses.normalized_negative_focal
    return [
        (
            ActiveNegativeCrossEntropy(alpha=2, beta=3, delta=0.01),
            lambda s: (2 * nce(s.logits(), s.labels) + 3 * nnce(s.logits(), s.labels)).mean(),
        ),
        (
            ActiveNegativeFocal(alpha=2, beta=3, delta=0.01),
            lambda s: (2 * nfl(s.logits(), s.labels) + 3 * nnfl(s.logits(), s.labels)).mean(),
        ),
        (
            ActiveNegativeEntropyRegularized(alpha=2, beta=3, delta=0.01, lam=0.5),
            lambda s: (
                (2 * nce(s.logits(), s.labels) + 3 * nnce(s.logits(), s.labels)).mean()
                + 0.5 * losses.entropy_regularizer(s.logits())
            ),
        ),
        (
            JointAsymmetric(alpha=2, beta=3, a=4, delta=0.01),
            lambda s: (2 * nce(s.logits(), s.labels) + 3 * losses.asymmetric_squared(s.logits(), s.labels, a=4)).mean(),
        ),
    ]


@pytest.mark.parametrize("method, rest", penalised(), ids=lambda value: getattr(value, "name", ""))
def test_the_l1_term_is_the_sum_over_all_parameters(method: Method, rest: Callable[[FakeStep], Tensor]) -> None:
    assert method.weight_decay == 0.0
    step = step_of()
    with torch.no_grad():
        step.networks[0].layer.bias[0] = 0.0
    penalty = 0.01 * sum(abs(value) for weight in step.networks[0].parameters() for value in weight.flatten().tolist())
    loss = method.loss(step)
    assert loss.item() == pytest.approx(rest(step).item() + penalty, rel=1e-5)
    weights = list(step.networks[0].parameters())
    for have, want, weight in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(rest(step), weights), weights, strict=True
    ):
        assert torch.allclose(have - want, 0.01 * weight.sign(), atol=1e-6)


def test_the_entropy_term_assumes_balance_and_vanishes_without_weight() -> None:
    step = step_of()
    assert ActiveNegativeEntropyRegularized.assumes == ("balanced_classes",)
    without = ActiveNegativeEntropyRegularized(lam=0.0).loss(step)
    assert torch.allclose(without, ActiveNegativeCrossEntropy().loss(step))


# ---- Combined losses -------------------------------------------------------------------------------------------------

REVERSE = -math.log(1e-4)


def class_sum(method: Method, logits: Tensor) -> Tensor:
    """The loss summed over every possible label, (N,)."""
    return torch.stack([method.losses(logits, torch.full((len(logits),), k)) for k in range(CLASSES)]).sum(dim=0)


@pytest.mark.parametrize(
    "method, total",
    [
        (NormalizedAndReverse(alpha=2, beta=3), 2 + 3 * REVERSE * (CLASSES - 1)),
        (NormalizedFocalAndReverse(alpha=2, beta=3), 2 + 3 * REVERSE * (CLASSES - 1)),
        (NormalizedAndAbsolute(alpha=2, beta=3), 2 + 3 * (CLASSES - 1)),
        (NormalizedFocalAndAbsolute(alpha=2, beta=3), 2 + 3 * (CLASSES - 1)),
        (ActiveNegativeCrossEntropy(alpha=2, beta=3), 2 + 3 * (CLASSES - 1)),
        (ActiveNegativeFocal(alpha=2, beta=3), 2 + 3 * (CLASSES - 1)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_symmetric_losses_have_a_constant_class_sum(method: Method, total: float) -> None:
    logits = torch.randn(20, CLASSES, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(class_sum(method, logits), torch.full((20,), float(total)), rtol=1e-5)


@pytest.mark.parametrize(
    "method, alone",
    [
        (
            NormalizedAndAsymmetricGeneralized(alpha=0, beta=1, a=4, q=0.2),
            lambda z, y: losses.asymmetric_generalized_cross_entropy(z, y, a=4, q=0.2),
        ),
        (
            NormalizedAndAsymmetricUnhinged(alpha=0, beta=1, a=3, q=0.1),
            lambda z, y: losses.asymmetric_unhinged(z, y, a=3, q=0.1),
        ),
        (
            NormalizedAndAsymmetricExponential(alpha=0, beta=1, a=3.5),
            lambda z, y: losses.asymmetric_exponential(z, y, a=3.5),
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_without_the_active_term_the_asymmetric_one_is_left(method: Method, alone: Callable[..., Tensor]) -> None:
    step = step_of()
    assert torch.allclose(method.losses(step.logits(), step.labels), alone(step.logits(), step.labels))
    both = type(method)(alpha=2.0, beta=1.0, a=method.a)
    rest = type(method)(alpha=0.0, beta=1.0, a=method.a)
    active = both.losses(step.logits(), step.labels) - rest.losses(step.logits(), step.labels)
    assert torch.allclose(active, 2 * losses.normalized_cross_entropy(step.logits(), step.labels), atol=1e-5)


def test_eps_softmax_uses_the_full_mean_absolute_error() -> None:
    step = step_of()
    p_y = step.logits().softmax(dim=1).gather(1, step.labels[:, None]).squeeze(1)
    only = EpsilonSoftmax(alpha=0, beta=5).losses(step.logits(), step.labels)
    assert torch.allclose(only, 5 * 2 * (1 - p_y), atol=1e-5)
    assert torch.allclose(
        EpsilonSoftmax(alpha=1, beta=0, m=0).losses(step.logits(), step.labels),
        CrossEntropy().losses(step.logits(), step.labels),
        atol=1e-5,
    )


def test_the_mean_softmax_of_an_ensemble_is_its_prediction() -> None:
    networks: Sequence[Any] = [FakeNetwork(0), FakeNetwork(1)]
    images = images_of(6)
    mean = torch.stack([network(images).softmax(dim=1) for network in networks]).mean(dim=0)
    assert torch.allclose(CrossEntropyEnsemble().predict(networks, images).exp(), mean, atol=1e-6)
