"""What holds for every loss: formula, gradient, range, class sum, and the invariants of them all."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from methods import losses

torch.set_num_threads(1)

REVERSE = -math.log(1e-4)
Formula = Callable[[np.ndarray, int], float]


@dataclass(frozen=True)
class Case:
    """A loss with its parameters, and what the literature says about it, written down a second time.

    `formula(p, y)`: from probabilities, without any clamp. `weight(p_y)`: the gradient is weight (p - e_y).
    `class_sum(K)`: the constant sum over the classes. `low`, `high`: the range, as functions of K.
    `corrected`: it wants a transition matrix.
    """

    call: Callable[..., Tensor]
    formula: Formula
    weight: Callable[[np.ndarray], np.ndarray] | None = None
    class_sum: Callable[[int], float] | None = None
    corrected: bool = False
    low: Callable[[int], float] = lambda classes: 0.0
    high: Callable[[int], float] = lambda classes: math.inf

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        if not self.corrected:
            return self.call(logits, targets)
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        transition = skewed(logits.shape[-1]).to(logits.device, dtype)
        return self.call(logits, targets, transition=transition)


def skewed(classes: int) -> Tensor:
    """A transition matrix without symmetry, far from singular."""
    matrix = torch.eye(classes, dtype=torch.float64) * 4 + 0.2
    matrix[0, -1] += 1
    return matrix / matrix.sum(dim=1, keepdim=True)


def normalised(term: Callable[[np.ndarray], np.ndarray]) -> Formula:
    return lambda p, y: term(p)[y] / term(p).sum()


def focal_terms(p: np.ndarray) -> np.ndarray:
    return -((1 - p) ** 0.5) * np.log(p)


def negative_margins(p: np.ndarray, gamma: float) -> np.ndarray:
    return (1 - p) ** gamma * np.log(p) - (1 - 1e-7) ** gamma * math.log(1e-7)


def divergence(p: np.ndarray, y: int, weight: float) -> float:
    """Jensen-Shannon as the weighted Kullback-Leibler divergences from the mean."""
    mean = (1 - weight) * p + weight * np.eye(len(p))[y]
    from_mean = -weight * math.log(mean[y]) + (1 - weight) * (p * np.log(p / mean)).sum()
    return from_mean / (-(1 - weight) * math.log(1 - weight))


def entropy(*weights: float) -> float:
    return -sum(weight * math.log(weight) for weight in weights)


CASES = {
    "cross_entropy": Case(losses.cross_entropy, lambda p, y: -math.log(p[y]), weight=np.ones_like),
    "focal": Case(partial(losses.focal, gamma=0.5), lambda p, y: focal_terms(p)[y], weight=lambda p: (1 - p) ** 0.5),
    "mean_absolute_error": Case(
        losses.mean_absolute_error,
        lambda p, y: np.abs(p - np.eye(len(p))[y]).sum() / 2,
        weight=lambda p: p,
        class_sum=lambda classes: classes - 1,
        high=lambda classes: 1,
    ),
    "reverse_cross_entropy": Case(
        losses.reverse_cross_entropy,
        lambda p, y: -(p * np.log(np.maximum(np.eye(len(p))[y], 1e-4))).sum(),
        weight=lambda p: REVERSE * p,
        class_sum=lambda classes: REVERSE * (classes - 1),
        high=lambda classes: REVERSE,
    ),
    "generalized_cross_entropy": Case(
        partial(losses.generalized_cross_entropy, q=0.7),
        lambda p, y: (1 - p[y] ** 0.7) / 0.7,
        weight=lambda p: p**0.7,
        high=lambda classes: 1 / 0.7,
    ),
    "symmetric_cross_entropy": Case(
        partial(losses.symmetric_cross_entropy, alpha=0.1, beta=2.0),
        lambda p, y: -0.1 * math.log(p[y]) + 2 * REVERSE * (1 - p[y]),
        weight=lambda p: 0.1 + 2 * REVERSE * p,
    ),
    "taylor_cross_entropy": Case(
        partial(losses.taylor_cross_entropy, order=4),
        lambda p, y: sum((1 - p[y]) ** i / i for i in range(1, 5)),
        weight=lambda p: 1 - (1 - p) ** 4,
        high=lambda classes: 1 + 1 / 2 + 1 / 3 + 1 / 4,
    ),
    "partially_huberised_cross_entropy": Case(
        partial(losses.partially_huberised_cross_entropy, tau=5.0),
        lambda p, y: -math.log(p[y]) if p[y] > 0.2 else -5 * p[y] + math.log(5) + 1,
        weight=lambda p: np.minimum(1, 5 * p),
        high=lambda classes: 1 + math.log(5),
    ),
    "label_smoothing": Case(
        partial(losses.label_smoothing, rate=0.2), lambda p, y: -0.8 * math.log(p[y]) - 0.2 * np.log(p).mean()
    ),
    "negative_label_smoothing": Case(
        partial(losses.label_smoothing, rate=-2.0),
        lambda p, y: -3 * math.log(p[y]) + 2 * np.log(p).mean(),
        low=lambda classes: -math.inf,
    ),
    "soft_bootstrap": Case(
        partial(losses.soft_bootstrap, beta=0.8),
        lambda p, y: -((0.8 * np.eye(len(p))[y] + 0.2 * p) * np.log(p)).sum(),
    ),
    "forward_corrected": Case(
        losses.forward_corrected, lambda p, y: -math.log((p @ skewed(len(p)).numpy())[y]), corrected=True
    ),
    "backward_corrected": Case(
        losses.backward_corrected,
        lambda p, y: -(np.linalg.inv(skewed(len(p)).numpy()) @ np.log(p))[y],
        corrected=True,
        low=lambda classes: -math.inf,
    ),
    "normalized_cross_entropy": Case(
        losses.normalized_cross_entropy,
        normalised(lambda p: -np.log(p)),
        class_sum=lambda classes: 1,
        high=lambda classes: 1,
    ),
    "normalized_focal": Case(
        partial(losses.normalized_focal, gamma=0.5),
        normalised(focal_terms),
        class_sum=lambda classes: 1,
        high=lambda classes: 1,
    ),
    "normalized_negative_cross_entropy": Case(
        partial(losses.normalized_negative_cross_entropy, min_prob=1e-7),
        lambda p, y: 1 - normalised(lambda p: negative_margins(p, 0))(p, y),
        class_sum=lambda classes: classes - 1,
        high=lambda classes: 1,
    ),
    "normalized_negative_focal": Case(
        partial(losses.normalized_negative_focal, gamma=0.5, min_prob=1e-7),
        lambda p, y: 1 - normalised(lambda p: negative_margins(p, 0.5))(p, y),
        class_sum=lambda classes: classes - 1,
        high=lambda classes: 1,
    ),
    "asymmetric_generalized_cross_entropy": Case(
        partial(losses.asymmetric_generalized_cross_entropy, a=0.6, q=0.6),
        lambda p, y: (1.6**0.6 - (0.6 + p[y]) ** 0.6) / 0.6,
        weight=lambda p: p * (0.6 + p) ** -0.4,
        high=lambda classes: (1.6**0.6 - 0.6**0.6) / 0.6,
    ),
    "asymmetric_generalized_cross_entropy, a > 1": Case(
        partial(losses.asymmetric_generalized_cross_entropy, a=6.0, q=1.5),
        lambda p, y: (7**1.5 - (6 + p[y]) ** 1.5) / 1.5,
        weight=lambda p: p * (6 + p) ** 0.5,
        high=lambda classes: (7**1.5 - 6**1.5) / 1.5,
    ),
    "asymmetric_unhinged": Case(
        partial(losses.asymmetric_unhinged, a=5.5, q=3.0),
        lambda p, y: ((5.5 - p[y]) ** 3 - 4.5**3) / 3,
        weight=lambda p: p * (5.5 - p) ** 2,
        high=lambda classes: (5.5**3 - 4.5**3) / 3,
    ),
    "asymmetric_exponential": Case(
        partial(losses.asymmetric_exponential, a=2.5),
        lambda p, y: math.exp(-p[y] / 2.5),
        weight=lambda p: p / 2.5 * np.exp(-p / 2.5),
        low=lambda classes: math.exp(-1 / 2.5),
        high=lambda classes: 1,
    ),
    "asymmetric_squared": Case(
        partial(losses.asymmetric_squared, a=3.0),
        lambda p, y: ((3 * np.eye(len(p))[y] - p) ** 2).mean(),
        low=lambda classes: 4 / classes,
        high=lambda classes: 10 / classes,
    ),
    "epsilon_softmax_cross_entropy": Case(
        partial(losses.epsilon_softmax_cross_entropy, m=20.0),
        lambda p, y: -math.log((p[y] + 20 * (p[y] == p.max())) / 21),
        high=lambda classes: -math.log(1e-8),
    ),
    "jensen_shannon": Case(
        partial(losses.jensen_shannon, weight=0.3),
        partial(divergence, weight=0.3),
        high=lambda classes: entropy(0.3, 0.7) / (-0.7 * math.log(0.7)),
    ),
    "jensen_shannon, weight > 1/2": Case(
        partial(losses.jensen_shannon, weight=0.9),
        partial(divergence, weight=0.9),
        high=lambda classes: entropy(0.9, 0.1) / (-0.1 * math.log(0.1)),
    ),
    "generalized_jensen_shannon": Case(
        lambda logits, targets: losses.generalized_jensen_shannon([logits] * 2, targets, weight=0.3),
        partial(divergence, weight=0.3),
        high=lambda classes: entropy(0.3, 0.35, 0.35) / (-0.7 * math.log(0.7)),
    ),
}
WEIGHTED = [name for name, case in CASES.items() if case.weight is not None]
SYMMETRIC = [name for name, case in CASES.items() if case.class_sum is not None]
DETACHED = ["focal", "normalized_focal", "normalized_negative_focal"]

every_loss = pytest.mark.parametrize("name", CASES)
# Eighths are exact in binary, and so are their shifts by whole numbers: a tie stays a tie.
eighths = st.integers(-60, 60).map(lambda eighth: eighth / 8)
extremes = st.one_of(st.sampled_from([-1e4, -90.0, 0.0, 90.0, 1e4]), st.floats(-1e4, 1e4, width=32))
few = settings(max_examples=20, deadline=None)


@st.composite
def batches(draw: st.DrawFn, numbers: st.SearchStrategy[float] = eighths) -> tuple[Tensor, Tensor]:
    """Logits (N, K) float64 and targets (N,)."""
    samples, classes = draw(st.integers(1, 4)), draw(st.integers(2, 7))
    rows = st.lists(numbers, min_size=classes, max_size=classes)
    logits = draw(st.lists(rows, min_size=samples, max_size=samples))
    targets = draw(st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples))
    return torch.tensor(logits, dtype=torch.float64), torch.tensor(targets)


def differentiate(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Per-sample losses and their gradients by the logits."""
    logits = logits.clone().requires_grad_()
    values = loss(logits, targets)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    return values.detach(), gradient


def assert_close(actual: Tensor, expected: Tensor | np.ndarray | float, tolerance: float = 1e-9) -> None:
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected.expand_as(actual), rtol=tolerance, atol=tolerance)


def test_every_public_loss_has_a_case() -> None:
    public = {name for name, value in vars(losses).items() if inspect.isfunction(value) and not name.startswith("_")}
    tested_elsewhere = {"soft_cross_entropy", "inverse_transition", "entropy_regularizer"}
    assert {name.split(",")[0] for name in CASES} - {"negative_label_smoothing"} == public - tested_elsewhere


@every_loss
@few
@given(batch=batches())
def test_value_is_the_formula(name: str, batch: tuple[Tensor, Tensor]) -> None:
    logits, targets = batch
    p = torch.softmax(logits, dim=1).numpy()
    # The clamps of the losses begin at p_y = 1e-7, where formulas without them would differ.
    away = np.where(p.min(axis=1) > 2e-7)[0]
    expected = [CASES[name].formula(p[i], int(targets[i])) for i in away]
    assert_close(CASES[name](logits, targets)[away], np.array(expected), 1e-8)


@pytest.mark.parametrize("name", WEIGHTED)
@few
@given(batch=batches())
def test_gradient_is_the_weighted_gradient_of_cross_entropy(name: str, batch: tuple[Tensor, Tensor]) -> None:
    logits, targets = batch
    p = torch.softmax(logits, dim=1)
    own = p.gather(1, targets[:, None]).squeeze(1)
    weight = CASES[name].weight(own.numpy())
    one_hot = torch.nn.functional.one_hot(targets, logits.shape[1])
    expected = torch.as_tensor(weight)[:, None] * (p - one_hot)
    gradient = differentiate(CASES[name], logits, targets)[1]
    away = own > 1.1e-7
    assert_close(gradient[away], expected[away])


@pytest.mark.parametrize("name", sorted(set(CASES) - set(DETACHED)))
def test_gradient_agrees_with_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64).requires_grad_()
    targets = torch.randint(4, (6,), generator=generator)
    assert torch.autograd.gradcheck(lambda z: CASES[name](z, targets), logits)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@few
@given(batch=batches(extremes))
def test_values_and_gradients_are_finite_for_extreme_logits(
    name: str, dtype: torch.dtype, batch: tuple[Tensor, Tensor]
) -> None:
    values, gradient = differentiate(CASES[name], batch[0].to(dtype), batch[1])
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    assert values.dtype == gradient.dtype == dtype


@every_loss
@few
@given(batch=batches(extremes))
def test_values_keep_to_their_range(name: str, batch: tuple[Tensor, Tensor]) -> None:
    classes = batch[0].shape[1]
    for dtype, slack in [(torch.float32, 1e-5), (torch.float64, 1e-12)]:
        values = CASES[name](batch[0].to(dtype), batch[1])
        assert (values >= CASES[name].low(classes) - slack).all()
        assert (values <= CASES[name].high(classes) + slack).all()


@every_loss
@few
@given(batch=batches(), shift=st.integers(-50, 50))
def test_a_shift_of_all_logits_changes_nothing(name: str, batch: tuple[Tensor, Tensor], shift: int) -> None:
    values, gradient = differentiate(CASES[name], *batch)
    shifted_values, shifted_gradient = differentiate(CASES[name], batch[0] + shift, batch[1])
    assert_close(shifted_values, values)
    assert_close(shifted_gradient, gradient)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.corrected])
@few
@given(batch=batches(), data=st.data())
def test_renaming_the_classes_changes_nothing(name: str, batch: tuple[Tensor, Tensor], data: st.DataObject) -> None:
    logits, targets = batch
    order = torch.tensor(data.draw(st.permutations(range(logits.shape[1]))))
    values, gradient = differentiate(CASES[name], logits, targets)
    renamed_values, renamed_gradient = differentiate(CASES[name], logits[:, order], order.argsort()[targets])
    assert_close(renamed_values, values)
    assert_close(renamed_gradient, gradient[:, order])


@every_loss
@few
@given(batch=batches())
def test_the_gradient_sums_to_zero_over_the_classes(name: str, batch: tuple[Tensor, Tensor]) -> None:
    gradient = differentiate(CASES[name], *batch)[1]
    assert_close(gradient.sum(dim=1), 0.0)


@every_loss
@few
@given(batch=batches())
def test_a_sample_does_not_depend_on_its_batch(name: str, batch: tuple[Tensor, Tensor]) -> None:
    logits, targets = batch
    alone = [CASES[name](logits[i : i + 1], targets[i : i + 1]) for i in range(len(targets))]
    assert_close(CASES[name](logits, targets), torch.cat(alone), 1e-12)


@pytest.mark.parametrize("name", SYMMETRIC)
@few
@given(batch=batches())
def test_symmetric_losses_have_a_constant_class_sum(name: str, batch: tuple[Tensor, Tensor]) -> None:
    logits = batch[0]
    classes = logits.shape[1]
    total = sum(CASES[name](logits, torch.full((len(logits),), k)) for k in range(classes))
    # Only the clamp of RCE at 1e-7 keeps a sum from being exact.
    assert_close(total, float(CASES[name].class_sum(classes)), 1e-5 if "reverse" in name else 1e-9)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(name: str, dtype: torch.dtype) -> None:
    logits = torch.linspace(-6, 6, 20).reshape(4, 5).to(dtype)
    logits[3, 0] = 1e4
    targets = torch.tensor([0, 2, 4, 1])
    values, gradient = differentiate(CASES[name], logits, targets)
    single_values, single_gradient = differentiate(CASES[name], logits.float(), targets)
    assert values.dtype == torch.float32
    assert gradient.dtype == dtype
    assert torch.equal(values, single_values)
    assert torch.equal(gradient, single_gradient.to(dtype))


@every_loss
def test_autocast_changes_nothing(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    logits, targets = torch.randn(8, 5, generator=generator), torch.randint(5, (8,), generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        cast = CASES[name](logits, targets)
    assert torch.equal(cast, CASES[name](logits, targets))


@every_loss
def test_shapes_alone_are_enough(name: str) -> None:
    with FakeTensorMode():
        logits = torch.randn(6, 5, requires_grad=True)
        values = CASES[name](logits, torch.zeros(6, dtype=torch.int64))
        values.mean().backward()
        assert values.shape == (6,)
        assert logits.grad is not None
        assert logits.grad.shape == (6, 5)


@every_loss
def test_an_empty_batch_and_small_target_types_are_allowed(name: str) -> None:
    assert CASES[name](torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)).shape == (0,)
    logits = torch.arange(12.0).reshape(3, 4)
    targets = torch.tensor([3, 0, 1])
    for dtype in (torch.int32, torch.uint8):
        assert torch.equal(CASES[name](logits, targets.to(dtype)), CASES[name](logits, targets))


@every_loss
@pytest.mark.parametrize("label", [-100, -1, 4])
def test_no_label_outside_the_classes_is_passed_over(name: str, label: int) -> None:
    with pytest.raises((IndexError, RuntimeError)):
        CASES[name](torch.zeros(2, 4), torch.tensor([0, label]))


@every_loss
@pytest.mark.parametrize(
    ("logits", "targets", "word"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), "logits"),
        (torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), "logits"),
        (torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), "logits"),
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), "targets"),
        (torch.zeros(3, 4), torch.zeros(3, 4), "targets"),
        (torch.zeros(3, 4), torch.zeros(3, dtype=torch.bool), "targets"),
    ],
)
def test_wrong_shapes_and_types_are_refused(name: str, logits: Tensor, targets: Tensor, word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word} must be"):
        CASES[name](logits, targets)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_loss
def test_a_cuda_graph_can_hold_value_and_gradient(name: str) -> None:
    logits = torch.randn(16, 10, device="cuda", requires_grad=True)
    targets = torch.randint(10, (16,), device="cuda")
    loss = CASES[name].call
    if CASES[name].corrected:
        loss = partial(loss, transition=skewed(10).to(logits))
    if name == "backward_corrected":
        loss = partial(loss, inverse=losses.inverse_transition(skewed(10).to(logits)))
    expected, expected_gradient = differentiate(loss, logits.detach(), targets)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.autograd.grad(loss(logits, targets).sum(), logits)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        values = loss(logits, targets)
        (gradient,) = torch.autograd.grad(values.sum(), logits)
    graph.replay()
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(gradient, expected_gradient)
