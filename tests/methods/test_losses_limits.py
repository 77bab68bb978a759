"""What is known of single losses: their limits into one another, clamps, corrections, bounds and refusals."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods import losses

torch.set_num_threads(1)

Loss = Callable[[Tensor, Tensor], Tensor]
few = settings(max_examples=25, deadline=None)

PUBLISHED_ARGUMENTS = {
    "cross_entropy": [],
    "focal": ["gamma"],
    "mean_absolute_error": [],
    "reverse_cross_entropy": [],
    "generalized_cross_entropy": ["q"],
    "symmetric_cross_entropy": ["alpha", "beta"],
    "taylor_cross_entropy": ["order"],
    "partially_huberised_cross_entropy": ["tau"],
    "label_smoothing": ["rate"],
    "soft_bootstrap": ["beta"],
    "forward_corrected": ["transition"],
    "backward_corrected": ["transition", "inverse"],
    "normalized_cross_entropy": [],
    "normalized_focal": ["gamma"],
    "normalized_negative_cross_entropy": ["min_prob"],
    "normalized_negative_focal": ["gamma", "min_prob"],
    "asymmetric_generalized_cross_entropy": ["a", "q"],
    "asymmetric_unhinged": ["a", "q"],
    "asymmetric_exponential": ["a"],
    "asymmetric_squared": ["a"],
    "epsilon_softmax_cross_entropy": ["m"],
    "jensen_shannon": ["weight"],
}


@st.composite
def batches(draw: st.DrawFn, largest: float = 5.0) -> tuple[Tensor, Tensor]:
    """Logits (N, K) float64 and targets (N,)."""
    samples, classes = draw(st.integers(1, 4)), draw(st.integers(2, 7))
    rows = st.lists(st.floats(-largest, largest), min_size=classes, max_size=classes)
    logits = draw(st.lists(rows, min_size=samples, max_size=samples))
    targets = draw(st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples))
    return torch.tensor(logits, dtype=torch.float64), torch.tensor(targets)


def probability(logits: Tensor, targets: Tensor) -> Tensor:
    """p_y (N,)."""
    return torch.softmax(logits, dim=1).gather(1, targets[:, None]).squeeze(1)


def gradient(loss: Loss, logits: Tensor, targets: Tensor) -> Tensor:
    """The gradient (N, K) of each sample's loss by its logits."""
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(logits, targets).sum(), logits)[0]


def with_probability(own: float, classes: int = 10, dtype: torch.dtype = torch.float64) -> Tensor:
    """Logits (1, K) with p_0 = own and the rest shared equally."""
    p = torch.full((1, classes), (1 - own) / (classes - 1), dtype=dtype)
    p[0, 0] = own
    return p.log()


def symmetric(classes: int, rate: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Symmetric noise that excludes the true class."""
    matrix = torch.full((classes, classes), rate / (classes - 1), dtype=dtype)
    return matrix.fill_diagonal_(1 - rate)


def close(actual: Tensor, expected: Tensor | float, tolerance: float = 1e-9) -> None:
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected.expand_as(actual), rtol=tolerance, atol=tolerance)


ZERO = torch.tensor([0])

# ---- Signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED_ARGUMENTS)
def test_argument_names_are_the_published_ones(name: str) -> None:
    parameters = inspect.signature(getattr(losses, name)).parameters
    assert list(parameters) == ["logits", "targets", *PUBLISHED_ARGUMENTS[name]]


# ---- Limits into one another -----------------------------------------------------------------------------------------

mean_absolute_error, cross_entropy = losses.mean_absolute_error, losses.cross_entropy
LIMITS: dict[str, tuple[Loss, Loss, float]] = {
    "gce, q -> 0": (partial(losses.generalized_cross_entropy, q=1e-9), cross_entropy, 1e-6),
    "gce, q = 1": (partial(losses.generalized_cross_entropy, q=1), mean_absolute_error, 1e-12),
    "taylor, order 1": (partial(losses.taylor_cross_entropy, order=1), mean_absolute_error, 1e-12),
    "phuber, tau = 1": (partial(losses.partially_huberised_cross_entropy, tau=1), mean_absolute_error, 1e-12),
    "phuber, tau -> inf": (partial(losses.partially_huberised_cross_entropy, tau=1e300), cross_entropy, 1e-12),
    "focal, gamma = 0": (partial(losses.focal, gamma=0), cross_entropy, 0),
    "nfl, gamma = 0": (partial(losses.normalized_focal, gamma=0), losses.normalized_cross_entropy, 1e-12),
    "nnfl, gamma = 0": (
        partial(losses.normalized_negative_focal, gamma=0),
        losses.normalized_negative_cross_entropy,
        1e-12,
    ),
    "eps-softmax, m = 0": (partial(losses.epsilon_softmax_cross_entropy, m=0), cross_entropy, 1e-12),
    "label smoothing, rate 0": (partial(losses.label_smoothing, rate=0), cross_entropy, 1e-12),
    "bootstrap, beta = 1": (partial(losses.soft_bootstrap, beta=1), cross_entropy, 1e-12),
    "sce, beta = 0": (partial(losses.symmetric_cross_entropy, alpha=1, beta=0), cross_entropy, 1e-12),
    "sce, alpha = 0": (
        partial(losses.symmetric_cross_entropy, alpha=0, beta=1),
        losses.reverse_cross_entropy,
        1e-12,
    ),
    "agce, a -> 0": (
        partial(losses.asymmetric_generalized_cross_entropy, a=1e-13, q=0.4),
        partial(losses.generalized_cross_entropy, q=0.4),
        1e-8,
    ),
    "agce, q = 1, a < 1": (
        partial(losses.asymmetric_generalized_cross_entropy, a=0.3, q=1),
        mean_absolute_error,
        1e-12,
    ),
    "agce, q = 1, a > 1": (
        partial(losses.asymmetric_generalized_cross_entropy, a=30, q=1),
        mean_absolute_error,
        1e-12,
    ),
    "aul, q = 1": (partial(losses.asymmetric_unhinged, a=2.5, q=1), mean_absolute_error, 1e-12),
    "aul, a -> 1": (
        partial(losses.asymmetric_unhinged, a=1 + 1e-12, q=2),
        lambda z, y: (1 - probability(z, y)) ** 2 / 2,
        1e-9,
    ),
    "ael, a -> inf": (
        lambda z, y: 1e6 * (1 - losses.asymmetric_exponential(z, y, a=1e6)),
        probability,
        1e-5,
    ),
    "js, weight -> 0": (partial(losses.jensen_shannon, weight=1e-9), cross_entropy, 1e-4),
    # Logarithmically slow: 4.6 % off for small p_y even here.
    "js, weight -> 1": (partial(losses.jensen_shannon, weight=1 - 1e-9), mean_absolute_error, 0.05),
    "gjs of one view": (
        lambda z, y: losses.generalized_jensen_shannon([z], y, weight=0.4),
        partial(losses.jensen_shannon, weight=0.4),
        1e-12,
    ),
    "forward, identity": (
        lambda z, y: losses.forward_corrected(z, y, torch.eye(z.shape[1])),
        cross_entropy,
        1e-12,
    ),
    "backward, identity": (
        lambda z, y: losses.backward_corrected(z, y, torch.eye(z.shape[1])),
        cross_entropy,
        1e-12,
    ),
    "soft, one-hot": (
        lambda z, y: losses.soft_cross_entropy(z, torch.eye(z.shape[1])[y]),
        cross_entropy,
        1e-12,
    ),
    "soft, smoothed": (
        lambda z, y: losses.soft_cross_entropy(z, 1.5 * torch.eye(z.shape[1])[y] - 0.5 / z.shape[1]),
        partial(losses.label_smoothing, rate=-0.5),
        1e-6,
    ),
}


@pytest.mark.parametrize("limit", LIMITS)
@few
@given(batch=batches())
def test_limits(limit: str, batch: tuple[Tensor, Tensor]) -> None:
    one, other, tolerance = LIMITS[limit]
    close(one(*batch), other(*batch), tolerance)


@few
@given(batch=batches(largest=2.0))
def test_taylor_grows_with_its_order_towards_cross_entropy(batch: tuple[Tensor, Tensor]) -> None:
    values = [losses.taylor_cross_entropy(*batch, order=order) for order in (1, 2, 5, 5000)]
    assert all((low <= high + 1e-12).all() for low, high in pairwise(values))
    close(values[-1], cross_entropy(*batch), 1e-6)


@pytest.mark.parametrize("tau", [2.0, 10.0])
def test_partially_huberised_joins_smoothly(tau: float) -> None:
    loss = partial(losses.partially_huberised_cross_entropy, tau=tau)
    below, above = with_probability(1 / tau - 1e-9), with_probability(1 / tau + 1e-9)
    close(loss(below, ZERO), loss(above, ZERO), 1e-7)
    close(gradient(loss, below, ZERO), gradient(loss, above, ZERO), 1e-7)


def test_small_q_is_exact_in_single_precision() -> None:
    logits = with_probability(0.01, dtype=torch.float32)
    close(losses.generalized_cross_entropy(logits, ZERO, q=1e-6), -math.log(0.01), 1e-5)
    close(losses.asymmetric_generalized_cross_entropy(logits, ZERO, a=2.0, q=1e-6), math.log(3 / 2.01), 1e-5)
    close(losses.asymmetric_unhinged(logits, ZERO, a=2.0, q=1e-6), math.log(1.99), 1e-5)


def test_a_large_parameter_keeps_single_precision() -> None:
    logits = with_probability(0.25, dtype=torch.float32)
    close(losses.asymmetric_generalized_cross_entropy(logits, ZERO, a=1e6, q=1.0), 0.75, 1e-6)
    close(losses.asymmetric_unhinged(logits, ZERO, a=1e6, q=1.0), 0.75, 1e-6)
    # Here p' = 1 - 0.1 / (m + 1), which single precision would round to 1.
    nearly = with_probability(0.9, dtype=torch.float32)
    close(losses.epsilon_softmax_cross_entropy(nearly, ZERO, m=1e5) * 1e6, 0.1 / (1e5 + 1) * 1e6, 1e-5)


# ---- Identities and published numbers --------------------------------------------------------------------------------


@few
@given(batch=batches())
def test_reverse_cross_entropy_is_921034_times_the_absolute_error(batch: tuple[Tensor, Tensor]) -> None:
    close(losses.reverse_cross_entropy(*batch), 9.210340371976182 * mean_absolute_error(*batch), 1e-9)


@few
@given(batch=batches(), a=st.floats(1, 50))
def test_asymmetric_squared_expands(batch: tuple[Tensor, Tensor], a: float) -> None:
    p = torch.softmax(batch[0], dim=1)
    expanded = p.square().sum(dim=1) - 2 * a * probability(*batch) + a**2
    close(p.shape[1] * losses.asymmetric_squared(*batch, a=a), expanded)
    if a == 1:
        one_hot = torch.eye(p.shape[1])[batch[1]]
        close(losses.asymmetric_squared(*batch, a=a), (p - one_hot).square().mean(dim=1))


@few
@given(batch=batches(), q=st.floats(0.01, 1))
def test_class_sum_of_generalized_cross_entropy_is_bounded(batch: tuple[Tensor, Tensor], q: float) -> None:
    logits = batch[0]
    classes = logits.shape[1]
    total = sum(losses.generalized_cross_entropy(logits, torch.full((len(logits),), k), q=q) for k in range(classes))
    assert (total >= (classes - classes ** (1 - q)) / q - 1e-9).all()
    assert (total <= (classes - 1) / q + 1e-9).all()


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_values_at_the_uniform_prediction(classes: int) -> None:
    logits = torch.zeros(1, classes, dtype=torch.float64)
    for name in ("normalized_cross_entropy", "normalized_focal"):
        close(getattr(losses, name)(logits, ZERO), 1 / classes)
    for name in ("normalized_negative_cross_entropy", "normalized_negative_focal"):
        close(getattr(losses, name)(logits, ZERO), 1 - 1 / classes)


@pytest.mark.parametrize(
    ("loss", "sizes"),
    [
        (lambda z, y: losses.normalized_cross_entropy(z, y) + 10 * losses.reverse_cross_entropy(z, y), (9.3, 46, 83)),
        (lambda z, y: losses.normalized_cross_entropy(z, y) + losses.reverse_cross_entropy(z, y), (1.0, 4.7, 8.3)),
        (partial(losses.symmetric_cross_entropy, alpha=0.1, beta=1), (1.0, 4.7, 8.4)),
        (partial(losses.generalized_cross_entropy, q=0.7), (0.2, 0.62, 0.93)),
        (
            lambda z, y: 5 * losses.normalized_cross_entropy(z, y) + 5 * losses.normalized_negative_cross_entropy(z, y),
            (0.25, 0.30, 0.63),
        ),
        (partial(losses.asymmetric_generalized_cross_entropy, a=4, q=0.2), (0.03, 0.15, 0.25)),
    ],
    ids=["nce+rce 1/10", "nce+rce 1/1", "sce", "gce", "anl-ce", "agce"],
)
def test_gradient_sizes_of_published_settings(loss: Loss, sizes: tuple[float, ...]) -> None:
    for own, size in zip((0.1, 0.5, 0.9), sizes, strict=True):
        logits = with_probability(own)
        relative = gradient(loss, logits, ZERO).norm() / gradient(cross_entropy, logits, ZERO).norm()
        assert float(relative) == pytest.approx(size, rel=0.08)


def test_normalized_cross_entropy_survives_half_precision_logits() -> None:
    # u = 0, 8000, 20000: in half precision their sum would overflow.
    logits = torch.tensor([[1e4, 2e3, -1e4]], dtype=torch.float16)
    close(losses.normalized_cross_entropy(logits, torch.tensor([1])), 2 / 7, 1e-6)


# ---- Clamps and stopped gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "loss",
    [
        partial(losses.generalized_cross_entropy, q=0.7),
        losses.reverse_cross_entropy,
        partial(losses.taylor_cross_entropy, order=3),
    ],
    ids=["gce", "rce", "taylor"],
)
def test_the_clamp_at_1e_7_fixes_the_value_and_stops_the_gradient(loss: Loss, dtype: torch.dtype) -> None:
    clamped = with_probability(0.5e-7, dtype=dtype)
    close(loss(clamped, ZERO), loss(with_probability(1e-7, dtype=dtype), ZERO), 1e-6)
    assert not gradient(loss, clamped, ZERO).any()
    assert gradient(loss, with_probability(2e-7, dtype=dtype), ZERO).any()


@pytest.mark.parametrize("name", ["normalized_negative_cross_entropy", "normalized_negative_focal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_negative_losses_at_certainty(name: str, dtype: torch.dtype) -> None:
    loss = getattr(losses, name)
    wrong = with_probability(0.9e-7, dtype=dtype)
    assert loss(wrong, ZERO).item() == 1.0
    assert not gradient(loss, wrong, ZERO).any()
    close(loss(torch.tensor([[60.0, 0, 0]], dtype=dtype), ZERO), 0.0, 1e-7)
    # A larger floor clamps earlier.
    assert loss(with_probability(0.9e-3, dtype=dtype), ZERO, min_prob=1e-3).item() == 1.0


def test_a_vanishing_floor_drives_the_negative_loss_to_a_constant() -> None:
    logits = with_probability(0.9)
    distances = [
        abs(losses.normalized_negative_cross_entropy(logits, ZERO, min_prob=floor).item() - 0.9)
        for floor in (1e-3, 1e-7, 1e-30, 1e-300)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3 < 0.1 < distances[0]


def test_eps_softmax_rejects_confident_disagreement() -> None:
    loss = partial(losses.epsilon_softmax_cross_entropy, m=1e5)
    rejected, accepted = with_probability(0.9e-3, classes=3), with_probability(1.1e-3, classes=3)
    rejected[0, 1] += 1
    accepted[0, 1] += 1
    accepted[0, 0] += 1
    close(loss(rejected, ZERO), -math.log(1e-8))
    assert not gradient(loss, rejected, ZERO).any()
    close(gradient(loss, accepted, ZERO), gradient(cross_entropy, accepted, ZERO))


@few
@given(batch=batches(), m=st.floats(0, 1e5))
def test_eps_softmax_gradient_where_the_label_is_predicted(batch: tuple[Tensor, Tensor], m: float) -> None:
    logits, targets = batch[0], batch[0].argmax(dim=1)
    p = torch.softmax(logits, dim=1)
    own = probability(logits, targets)
    expected = (own / (own + m))[:, None] * (p - torch.eye(p.shape[1])[targets])
    close(gradient(partial(losses.epsilon_softmax_cross_entropy, m=m), logits, targets), expected)


@few
@given(batch=batches(largest=3.0), m=st.floats(0, 1e4))
def test_eps_softmax_is_near_to_one_hot(batch: tuple[Tensor, Tensor], m: float) -> None:
    logits = batch[0]
    classes = logits.shape[1]
    best = logits.argmax(dim=1)
    log_p = torch.log_softmax(logits, dim=1)
    assume((log_p == log_p.amax(dim=1, keepdim=True)).sum() == len(logits))
    labels = [torch.full((len(logits),), k) for k in range(classes)]
    approximation = torch.stack([losses.epsilon_softmax_cross_entropy(logits, label, m=m) for label in labels], dim=1)
    p_prime = (-approximation).exp()
    distance = (p_prime - torch.eye(classes)[best]).norm(dim=1)
    assert (distance <= math.sqrt(1 - 1 / classes) / (m + 1) + 2e-8 * classes).all()
    close(p_prime.sum(dim=1), 1.0, 1e-7)


FROZEN: dict[str, tuple[Loss, Callable[[Tensor, Tensor], Tensor]]] = {
    # Each second entry writes the loss from ln p and a modulator that is a constant.
    "focal": (losses.focal, lambda log_p, w: -(w * log_p)[:, 0]),
    "normalized_focal": (losses.normalized_focal, lambda log_p, w: (w * log_p)[:, 0] / (w * log_p).sum(dim=1)),
    "normalized_negative_focal": (
        losses.normalized_negative_focal,
        lambda log_p, w: (
            1
            - (w * log_p - (1 - 1e-7) ** 0.5 * math.log(1e-7))[:, 0]
            / (w * log_p - (1 - 1e-7) ** 0.5 * math.log(1e-7)).sum(dim=1)
        ),
    ),
}


@pytest.mark.parametrize("name", FROZEN)
def test_no_gradient_flows_through_the_modulator(name: str) -> None:
    loss, frozen = FROZEN[name]
    logits = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]], dtype=torch.float64)
    targets = torch.zeros(2, dtype=torch.int64)

    def modulator(logits: Tensor) -> Tensor:
        return (1 - torch.softmax(logits, dim=1)).sqrt()

    def constant(z: Tensor, y: Tensor) -> Tensor:
        return frozen(torch.log_softmax(z, dim=1), modulator(logits))

    def full(z: Tensor, y: Tensor) -> Tensor:
        return frozen(torch.log_softmax(z, dim=1), modulator(z))

    close(gradient(loss, logits, targets), gradient(constant, logits, targets))
    assert (gradient(loss, logits, targets) - gradient(full, logits, targets)).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "loss",
    [
        partial(losses.asymmetric_generalized_cross_entropy, a=1e-5, q=0.5),
        partial(losses.asymmetric_generalized_cross_entropy, a=1e-300, q=0.1),
        partial(losses.asymmetric_unhinged, a=1 + 1e-12, q=0.1),
        partial(losses.normalized_focal, gamma=1000.0),
        partial(losses.normalized_negative_focal, gamma=1000.0),
        partial(losses.partially_huberised_cross_entropy, tau=1e300),
        partial(losses.epsilon_softmax_cross_entropy, m=1e-300),
        partial(losses.epsilon_softmax_cross_entropy, m=1e30),
        partial(losses.jensen_shannon, weight=1e-12),
        partial(losses.jensen_shannon, weight=1 - 1e-12),
        partial(losses.taylor_cross_entropy, order=1000),
    ],
)
def test_extreme_parameters_stay_finite(loss: Loss, dtype: torch.dtype) -> None:
    levels = torch.tensor([-1e4, -20.0, 0.0, 20.0, 1e4], dtype=dtype)
    logits = torch.cartesian_prod(levels, levels, levels)
    targets = torch.zeros(len(logits), dtype=torch.int64)
    assert loss(logits, targets).isfinite().all()
    assert gradient(loss, logits, targets).isfinite().all()


# ---- Loss correction -------------------------------------------------------------------------------------------------


@st.composite
def transitions(draw: st.DrawFn, classes: int) -> Tensor:
    """Diagonally dominant matrices (K, K) float64, so never singular."""
    numbers = st.lists(st.floats(0, 1), min_size=classes, max_size=classes)
    rows = torch.tensor(draw(st.lists(numbers, min_size=classes, max_size=classes)), dtype=torch.float64)
    matrix = rows / classes + 1.5 * torch.eye(classes, dtype=torch.float64)
    return matrix / matrix.sum(dim=1, keepdim=True)


@few
@given(batch=batches(), data=st.data())
def test_backward_correction_is_unbiased(batch: tuple[Tensor, Tensor], data: st.DataObject) -> None:
    logits, targets = batch
    classes = logits.shape[1]
    matrix = data.draw(transitions(classes))
    each = [losses.backward_corrected(logits, torch.full_like(targets, k), matrix) for k in range(classes)]
    close((matrix[targets] * torch.stack(each, dim=1)).sum(dim=1), cross_entropy(logits, targets))


@few
@given(batch=batches(), data=st.data())
def test_expected_forward_correction_is_stationary_at_the_clean_posterior(
    batch: tuple[Tensor, Tensor], data: st.DataObject
) -> None:
    logits, targets = batch
    classes = logits.shape[1]
    matrix = data.draw(transitions(classes))
    noisy_posterior = torch.softmax(logits, dim=1) @ matrix

    def expected(z: Tensor, _: Tensor) -> Tensor:
        each = [losses.forward_corrected(z, torch.full_like(targets, k), matrix) for k in range(classes)]
        return (noisy_posterior * torch.stack(each, dim=1)).sum(dim=1)

    close(gradient(expected, logits, targets), 0.0)
    assert (expected(logits + torch.eye(classes)[0], targets) >= expected(logits, targets) - 1e-12).all()


@few
@given(batch=batches(largest=1e4), rate=st.floats(0.01, 0.99))
def test_forward_correction_of_symmetric_noise_is_bounded(batch: tuple[Tensor, Tensor], rate: float) -> None:
    classes = batch[0].shape[1]
    values = losses.forward_corrected(*batch, symmetric(classes, rate))
    own = probability(*batch)
    close(values, -torch.log((1 - rate) * own + rate / (classes - 1) * (1 - own)))
    assert (values <= -math.log(min(rate / (classes - 1), 1 - rate)) + 1e-9).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_label_that_the_transition_rules_out_teaches_nothing(dtype: torch.dtype) -> None:
    always_one = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]], dtype=dtype)
    logits = torch.tensor([[3.0, -2, 1], [1e4, 0, -1e4]], dtype=dtype)
    loss = partial(losses.forward_corrected, transition=always_one)
    impossible = torch.zeros(2, dtype=torch.int64)
    close(loss(logits, impossible), -math.log(1e-7), 1e-5)
    close(gradient(loss, logits, impossible), 0.0, 1e-5)
    assert gradient(loss, logits, torch.tensor([2, 2]))[0].any()


def test_an_inverse_computed_once_gives_the_same_loss() -> None:
    matrix, logits = symmetric(4, 0.3), torch.arange(12.0).reshape(3, 4).sin()
    targets = torch.tensor([0, 3, 1])
    inverse = losses.inverse_transition(matrix)
    assert inverse.dtype == torch.float64
    close(inverse @ matrix, torch.eye(4, dtype=torch.float64))
    once = losses.backward_corrected(logits, targets, matrix, inverse)
    assert torch.equal(once, losses.backward_corrected(logits, targets, matrix))
    assert torch.equal(losses.backward_corrected(logits, targets, matrix, 2 * inverse), 2 * once)
    with pytest.raises(ValueError, match=r"inverse has shape \(3, 3\)"):
        losses.backward_corrected(logits, targets, matrix, torch.eye(3))


def pairflip(classes: int, rate: float) -> Tensor:
    identity = torch.eye(classes, dtype=torch.float64)
    return (1 - rate) * identity + rate * identity.roll(1, dims=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "matrix",
    [symmetric(10, 0.9), symmetric(3, 2 / 3), symmetric(100, 0.99), pairflip(10, 0.5), torch.full((7, 7), 1 / 7)],
    ids=["sym 10", "sym 3", "sym 100", "pairflip 10", "uniform"],
)
def test_backward_correction_refuses_singular_matrices(matrix: Tensor, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="transition is singular"):
        losses.backward_corrected(torch.zeros(1, len(matrix)), ZERO, matrix.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("matrix", [symmetric(10, 0.89), symmetric(10, 1.0), pairflip(9, 0.5), symmetric(100, 0.8)])
def test_backward_correction_takes_regular_matrices(matrix: Tensor, dtype: torch.dtype) -> None:
    assert losses.inverse_transition(matrix.to(dtype)).isfinite().all()


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (torch.eye(4), r"must be floating-point \(3, 3\)"),
        (torch.eye(3)[0], r"must be floating-point \(3, 3\)"),
        (torch.eye(3, dtype=torch.int64), "floating-point"),
        (torch.eye(3) * 0.9, "row 0 .* sum is 0.9"),
        (torch.tensor([[1.0, 0, 0], [1.5, -0.5, 0], [0, 0, 1]]), "row 1 "),
        (torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, math.nan, 1]]), "row 2 "),
    ],
)
@pytest.mark.parametrize("loss", [losses.forward_corrected, losses.backward_corrected])
def test_malformed_transitions_are_refused(loss: Callable[..., Tensor], matrix: Tensor, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        loss(torch.zeros(1, 3), ZERO, transition=matrix)


# ---- Jensen-Shannon of several views ---------------------------------------------------------------------------------


def naive_jensen_shannon(views: list[Tensor], targets: Tensor, weight: float, floor: float = 0.0) -> Tensor:
    """Entropy of the mean minus mean entropy as divergences from the mean, scaled; `floor` clamps the mean."""
    p = [torch.softmax(view, dim=1) for view in views]
    one_hot = torch.eye(p[0].shape[1], dtype=torch.float64)[targets]
    weights = [weight] + [(1 - weight) / len(p)] * len(p)
    mean = sum(w * member for w, member in zip(weights, [one_hot, *p], strict=True)).clamp(min=floor)
    members = [(torch.xlogy(member, member / mean)).sum(dim=1) for member in [one_hot, *p]]
    total = sum(w * member for w, member in zip(weights, members, strict=True))
    return total / (-(1 - weight) * math.log(1 - weight))


@few
@given(batch=batches(), weight=st.floats(0.05, 0.95), data=st.data())
def test_generalized_jensen_shannon_of_different_views(
    batch: tuple[Tensor, Tensor], weight: float, data: st.DataObject
) -> None:
    logits, targets = batch
    views = [logits, logits.roll(1, dims=1), logits.flip(1) * 0.5][: data.draw(st.integers(1, 3))]
    values = losses.generalized_jensen_shannon(views, targets, weight)
    close(values, naive_jensen_shannon(views, targets, weight), 1e-8)
    close(losses.generalized_jensen_shannon(views[::-1], targets, weight), values)
    shared = [weight] + [(1 - weight) / len(views)] * len(views)
    bound = -sum(w * math.log(w) for w in shared) / (-(1 - weight) * math.log(1 - weight))
    assert ((values >= -1e-9) & (values <= bound + 1e-9)).all()


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_official_clamp_would_hardly_change_jensen_shannon(weight: float) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = 12 * torch.randn(2000, 10, generator=generator, dtype=torch.float64)
    targets = torch.randint(10, (2000,), generator=generator)
    clamped = naive_jensen_shannon([logits], targets, weight, floor=1e-7)
    assert (losses.jensen_shannon(logits, targets, weight) - clamped).abs().max() < 10 * 4e-7


def test_different_views_gradients_agree_with_finite_differences_and_stay_finite() -> None:
    generator = torch.Generator().manual_seed(3)
    views = [torch.randn(3, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)]
    targets = torch.tensor([0, 3, 1])
    assert torch.autograd.gradcheck(lambda *z: losses.generalized_jensen_shannon(z, targets, weight=0.3), tuple(views))
    far = [torch.tensor([[1e4, -1e4, 0]], requires_grad=True), torch.tensor([[-1e4, 1e4, 0]], requires_grad=True)]
    for target in range(3):
        values = losses.generalized_jensen_shannon(far, torch.tensor([target]), weight=0.3)
        assert values.isfinite().all()
        assert all(part.isfinite().all() for part in torch.autograd.grad(values.sum(), far))


# ---- Entropy regulariser and soft targets ----------------------------------------------------------------------------


@few
@given(batch=batches(largest=40.0))
def test_entropy_regularizer_is_the_divergence_from_uniform(batch: tuple[Tensor, Tensor]) -> None:
    logits = batch[0]
    classes = logits.shape[1]
    value = losses.entropy_regularizer(logits)
    assert value.shape == ()
    assert -1e-9 <= value.item() <= math.log(classes) + 1e-9
    mean = torch.softmax(logits, dim=1).mean(dim=0)
    close(value, math.log(classes) + torch.xlogy(mean, mean).sum(), 1e-4)
    close(losses.entropy_regularizer(logits.flip(0, 1)), value)
    close(losses.entropy_regularizer(torch.cat([logits, logits])), value)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_entropy_regularizer_is_zero_just_when_the_mean_is_uniform(classes: int) -> None:
    balanced = 50 * torch.eye(classes, dtype=torch.float64)
    close(losses.entropy_regularizer(balanced), 0.0, 1e-7)
    close(losses.entropy_regularizer(torch.zeros(3, classes, dtype=torch.float64)), 0.0, 1e-12)
    collapsed = 50 * torch.eye(classes, dtype=torch.float64)[torch.zeros(5, dtype=torch.int64)]
    close(losses.entropy_regularizer(collapsed), math.log(classes), 1e-3)
    # A batch smaller than K can't be both confident and balanced.
    assert losses.entropy_regularizer(balanced[:-1]).item() > 1e-3 / classes


def test_entropy_regularizer_clamps_before_and_after_the_mean() -> None:
    p = torch.tensor([[0.98, 0.01, 0.01], [0.7, 0.29, 0.01]], dtype=torch.float64)
    total = torch.tensor([0.9 + 0.7, 0.1 + 0.29, 0.1 + 0.1], dtype=torch.float64)
    mean = total / total.sum()
    mean[2] = 0.1
    assert total[2] / total.sum() < 0.1
    value = losses.entropy_regularizer(p.log(), min_prob=0.1)
    close(value, math.log(3) + (mean * mean.log()).sum())


def test_entropy_regularizer_is_no_mean_over_samples_and_can_be_differentiated() -> None:
    logits = torch.tensor([[4.0, 0, 1], [0, 3.0, -1]], dtype=torch.float64).requires_grad_()
    halves = torch.stack([losses.entropy_regularizer(logits[:1]), losses.entropy_regularizer(logits[1:])])
    assert losses.entropy_regularizer(logits).item() < halves.mean().item() - 0.1
    assert torch.autograd.gradcheck(losses.entropy_regularizer, logits)
    for dtype in (torch.float16, torch.float32, torch.float64):
        far = torch.tensor([[1e4, -1e4, 0], [1e4, 0, 0]], dtype=dtype, requires_grad=True)
        value = losses.entropy_regularizer(far)
        assert value.isfinite()
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert torch.autograd.grad(value, far)[0].isfinite().all()


@few
@given(batch=batches(), share=st.floats(0, 1))
def test_mixed_targets_mix_the_losses(batch: tuple[Tensor, Tensor], share: float) -> None:
    logits, targets = batch
    others = (targets + 1) % logits.shape[1]
    one_hot = torch.eye(logits.shape[1], dtype=torch.float64)
    soft = losses.soft_cross_entropy(logits, share * one_hot[targets] + (1 - share) * one_hot[others])
    close(soft, share * cross_entropy(logits, targets) + (1 - share) * cross_entropy(logits, others))


# ---- Refusals --------------------------------------------------------------------------------------------------------

REFUSED = [
    (losses.focal, {"gamma": -0.1}),
    (losses.focal, {"gamma": math.nan}),
    (losses.focal, {"gamma": math.inf}),
    (losses.focal, {"gamma": "0.5"}),
    (losses.focal, {"gamma": True}),
    (losses.generalized_cross_entropy, {"q": 0}),
    (losses.generalized_cross_entropy, {"q": 1.01}),
    (losses.symmetric_cross_entropy, {"alpha": -1, "beta": 1}),
    (losses.symmetric_cross_entropy, {"beta": -1, "alpha": 1}),
    (losses.taylor_cross_entropy, {"order": 0}),
    (losses.taylor_cross_entropy, {"order": 2.5}),
    (losses.taylor_cross_entropy, {"order": True}),
    (losses.partially_huberised_cross_entropy, {"tau": 0.9}),
    (losses.label_smoothing, {"rate": 1.1}),
    (losses.label_smoothing, {"rate": -math.inf}),
    (losses.soft_bootstrap, {"beta": 1.1}),
    (losses.normalized_focal, {"gamma": -1}),
    (losses.normalized_negative_cross_entropy, {"min_prob": 0}),
    (losses.normalized_negative_cross_entropy, {"min_prob": 0.25}),
    (losses.normalized_negative_focal, {"gamma": -1}),
    (losses.normalized_negative_focal, {"min_prob": 0.3}),
    (losses.asymmetric_generalized_cross_entropy, {"a": 0, "q": 0.5}),
    (losses.asymmetric_generalized_cross_entropy, {"q": 0, "a": 1}),
    (losses.asymmetric_generalized_cross_entropy, {"a": 1e6, "q": 100}),
    (losses.asymmetric_unhinged, {"a": 1, "q": 0.5}),
    (losses.asymmetric_unhinged, {"q": 0, "a": 2}),
    (losses.asymmetric_unhinged, {"a": 1 + 1e-15, "q": 100}),
    (losses.asymmetric_exponential, {"a": 0}),
    (losses.asymmetric_squared, {"a": 0.9}),
    (losses.epsilon_softmax_cross_entropy, {"m": -1}),
    (losses.jensen_shannon, {"weight": 0}),
    (losses.jensen_shannon, {"weight": 1}),
]


@pytest.mark.parametrize(("loss", "values"), REFUSED)
def test_parameters_out_of_bounds_are_refused_in_one_line(
    loss: Callable[..., Tensor], values: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(values))}\b") as refusal:
        loss(torch.zeros(2, 4), torch.tensor([0, 1]), **values)
    assert "\n" not in str(refusal.value)


def test_other_arguments_are_checked_too() -> None:
    logits = torch.zeros(2, 4)
    with pytest.raises(ValueError, match=r"min_prob=0\.5 must be below 1/K = 0\.25"):
        losses.entropy_regularizer(logits, min_prob=0.5)
    with pytest.raises(ValueError, match="target_distribution must be floating-point"):
        losses.soft_cross_entropy(logits, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="logits must be"):
        losses.entropy_regularizer(torch.zeros(4))
    for views in ([], [logits, torch.zeros(2, 5)], logits):
        with pytest.raises(ValueError, match="views must be"):
            losses.generalized_jensen_shannon(views, torch.tensor([0, 1]), weight=0.5)
    with pytest.raises(ValueError, match="weight=2"):
        losses.generalized_jensen_shannon([logits], torch.tensor([0, 1]), weight=2)
