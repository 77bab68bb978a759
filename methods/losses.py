"""Losses for noisy labels: pure functions of logits and given labels, usable without the harness.

Every loss takes `logits` (N, K), any real numbers, and `targets` (N,), integers in 0..K-1, and returns the loss of
each sample, (N,). float32 and float64 are computed as they come; float16 and bfloat16 are computed and returned in
float32. Values and gradients are finite for |logit| up to 1e4. Wrong shapes, types or parameters raise ValueError.

In the docstrings p = softmax(logits), y = target, p_y its probability, u_k = -ln p_k. A clamp of a probability also
stops its gradient. Nothing here reads a value back to the host or makes a shape depend on data (the one exception,
`inverse_transition`, says so), so a step that calls these can be traced on shapes alone or captured as a CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor

PROBABILITY_FLOOR = 1e-7  # the clamp of GCE, RCE and Taylor-CE
EPSILON_SOFTMAX_FLOOR = 1e-8  # the clamp of eps-softmax; with a large m it rejects confident disagreement
REVERSE_LABEL_FLOOR = 1e-4  # what replaces 0 in the one-hot label of RCE
IMPOSSIBLE_LABEL = 1e-7  # the probability of a label that the transition matrix rules out
NO_LABEL = -(2**63)  # what PyTorch may ignore, which is -100 otherwise
LARGEST_EXPONENT = 80.0  # exp(80) still fits float32 with room for a product


# ---- Plain losses ----------------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy u_y, in [0, inf)."""
    log_p = _log_softmax(logits)
    _check_targets(logits, targets)
    # bit for bit what gathering the target's entry gives, in one operation; no label is one to ignore
    return torch.nn.functional.nll_loss(log_p, targets.long(), reduction="none", ignore_index=NO_LABEL)


def soft_cross_entropy(logits: Tensor, target_distribution: Tensor) -> Tensor:
    """Cross-entropy against soft targets (N, K): sum_k t_k u_k. With one-hot rows it is `cross_entropy`."""
    log_p = _log_softmax(logits)
    if target_distribution.shape != log_p.shape or not target_distribution.is_floating_point():
        raise ValueError(
            f"target_distribution must be floating-point of the logits' shape {tuple(log_p.shape)}, "
            f"got {target_distribution.dtype} {tuple(target_distribution.shape)}"
        )
    return -(target_distribution.to(log_p.dtype) * log_p).sum(dim=1)


def focal(logits: Tensor, targets: Tensor, gamma: float = 0.5) -> Tensor:
    """Focal loss (1 - p_y)^gamma u_y, gamma >= 0; no gradient flows through the modulator. gamma = 0: cross-entropy.

    Lin et al. 2017 (arXiv 1708.02002) with the detached modulator of the label-noise codes, whose gamma is 0.5.
    """
    gamma = _number("gamma", gamma, low=0)
    own = _own(logits, targets)
    return -_modulator(own, gamma) * own


def mean_absolute_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error in its reduced form 1 - p_y, in [0, 1]; half of sum_k |p_k - [k = y]|.

    Ghosh et al. 2017 (arXiv 1712.09482).
    """
    return -torch.expm1(_own(logits, targets))


def reverse_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Reverse cross-entropy -ln(1e-4) (1 - p_y) = 9.21034 (1 - p_y), p_y clamped to [1e-7, 1].

    Wang et al. 2019 (arXiv 1908.06112), with ln 0 replaced by ln 1e-4 (the natural logarithm, as all codes do;
    the papers' "A = -4" is the decimal one).
    """
    return _reverse(_own(logits, targets))


def symmetric_cross_entropy(logits: Tensor, targets: Tensor, alpha: float, beta: float) -> Tensor:
    """Symmetric cross-entropy: alpha `cross_entropy` + beta `reverse_cross_entropy`, both weights >= 0.

    Wang et al. 2019 (arXiv 1908.06112). Published (alpha, beta): MNIST 0.01, 1; CIFAR-10 0.1, 1; CIFAR-100 6, 0.1.
    """
    alpha, beta = _number("alpha", alpha, low=0), _number("beta", beta, low=0)
    own = _own(logits, targets)
    return beta * _reverse(own) - alpha * own


def generalized_cross_entropy(logits: Tensor, targets: Tensor, q: float = 0.7) -> Tensor:
    """Generalised cross-entropy (1 - p_y^q) / q, q in (0, 1], p_y clamped to [1e-7, 1]; in [0, 1/q].

    q -> 0: cross-entropy; q = 1: mean absolute error. Zhang and Sabuncu 2018 (arXiv 1805.07836).
    """
    q = _number("q", q, low=0, high=1, open_low=True)
    # expm1 because 1 - p^q cancels for small q.
    return -torch.expm1(q * _floored(_own(logits, targets))) / q


def taylor_cross_entropy(logits: Tensor, targets: Tensor, order: int) -> Tensor:
    """Taylor cross-entropy sum_{i=1..order} (1 - p_y)^i / i, p_y clamped to [1e-7, 1]; in [0, H_order].

    order = 1: mean absolute error; order -> inf: cross-entropy. Feng et al. 2020 (IJCAI).
    """
    if isinstance(order, bool) or not isinstance(order, Integral) or order < 1:
        raise ValueError(f"order={order} must be a whole number of at least 1")
    missing = -torch.expm1(_floored(_own(logits, targets)))
    powers = torch.arange(1, int(order) + 1, device=missing.device, dtype=missing.dtype)
    return (missing.unsqueeze(1).pow(powers) / powers).sum(dim=1)


def partially_huberised_cross_entropy(logits: Tensor, targets: Tensor, tau: float = 10.0) -> Tensor:
    """Partially Huberised cross-entropy: u_y where p_y > 1/tau, else its tangent 1 + ln tau - tau p_y; tau >= 1.

    In [0, 1 + ln tau]; tau = 1: mean absolute error; tau -> inf: cross-entropy. Menon et al. 2020 (ICLR).
    """
    log_tau = math.log(_number("tau", tau, low=1))
    own = _own(logits, targets)
    # The clamp keeps exp finite on the side that `where` throws away, whose gradient would be 0 * inf.
    tangent = 1 + log_tau - torch.exp((own + log_tau).clamp(max=0))
    return torch.where(own > -log_tau, -own, tangent)


def label_smoothing(logits: Tensor, targets: Tensor, rate: float) -> Tensor:
    """Label smoothing (1 - rate) u_y + rate mean_k u_k, rate <= 1; a negative rate is negative label smoothing.

    The cross-entropy against (1 - rate) e_y + rate / K; rate = 0: cross-entropy; unbounded below for rate < 0.
    Szegedy et al. 2016 (arXiv 1512.00567); negative rates: Wei et al. 2022 (arXiv 2106.04149).
    """
    rate = _number("rate", rate, high=1)
    log_p, own = _log_probabilities(logits, targets)
    return (rate - 1) * own - rate * log_p.mean(dim=1)


def soft_bootstrap(logits: Tensor, targets: Tensor, beta: float = 0.95) -> Tensor:
    """Soft bootstrapping: cross-entropy against beta e_y + (1 - beta) p, beta in [0, 1]; the gradient flows through p.

    So it is beta u_y + (1 - beta) H(p), H the entropy; beta = 1: cross-entropy. Reed et al. 2015 (arXiv 1412.6596).
    """
    beta = _number("beta", beta, low=0, high=1)
    log_p, own = _log_probabilities(logits, targets)
    return -beta * own - (1 - beta) * (log_p.exp() * log_p).sum(dim=1)


# ---- Loss correction -------------------------------------------------------------------------------------------------


def forward_corrected(logits: Tensor, targets: Tensor, transition: Tensor) -> Tensor:
    """Forward correction -ln sum_i p_i T_iy; T (K, K), T_ij = P(noisy j | clean i), rows summing to 1.

    Patrini et al. 2017 (arXiv 1609.03683). T = identity: cross-entropy. No clamp: the sum is taken over
    logarithms. A label that T rules out altogether (a column of zeros) costs -ln 1e-7 and has no gradient.
    The values of T are checked where it lies on the CPU; keep it on the logits' device.
    """
    log_p, _ = _log_probabilities(logits, targets)
    _check_transition(transition, log_p.shape[1])
    possible = (transition > 0).any(dim=0)
    log_transition = torch.where(possible, transition, IMPOSSIBLE_LABEL).log().to(log_p)
    return -torch.logsumexp(log_p + log_transition.T[targets.long()], dim=1)


def backward_corrected(logits: Tensor, targets: Tensor, transition: Tensor, inverse: Tensor | None = None) -> Tensor:
    """Backward correction sum_j (T^-1)_yj u_j; unbounded on both sides for any T but the identity.

    Unbiased: its mean over y drawn from row c of T is the cross-entropy of class c. Patrini et al. 2017 (arXiv
    1609.03683). T as in `forward_corrected`; ValueError where it is singular. `inverse`: what
    `inverse_transition(transition)` returned, which spares every step the inversion and its wait for the device.
    """
    log_p, _ = _log_probabilities(logits, targets)
    _check_transition(transition, log_p.shape[1])
    if inverse is None:
        inverse = inverse_transition(transition)
    elif inverse.shape != transition.shape:
        raise ValueError(f"inverse has shape {tuple(inverse.shape)}, but transition {tuple(transition.shape)}")
    return -(inverse.to(log_p)[targets.long()] * log_p).sum(dim=1)


def inverse_transition(transition: Tensor) -> Tensor:
    """The inverse (K, K) of a transition matrix, float64; ValueError where it is singular to its own precision.

    Waits for the device: call it once, before training.
    """
    _check_transition(transition, transition.shape[0] if transition.ndim else 0)
    matrix = transition.double()
    inverse: Tensor
    inverse, info = torch.linalg.inv_ex(matrix)
    if _is_real(transition):
        condition = matrix.abs().sum(dim=0).max() * inverse.abs().sum(dim=0).max()
        limit = 1 / (len(matrix) * torch.finfo(transition.dtype).eps)
        # Written so that a NaN counts as singular.
        if info.item() != 0 or not condition.item() < limit:
            raise ValueError(
                "transition is singular, so the backward correction does not exist (as for sym at rate (K-1)/K); "
                "lower the noise rate or use the forward correction"
            )
    return inverse


# ---- Normalised losses -----------------------------------------------------------------------------------------------


def normalized_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Normalised cross-entropy u_y / sum_k u_k, in [0, 1]; sums to 1 over the classes.

    Ma et al. 2020 (arXiv 2006.13554). The denominator is at least K ln K.
    """
    log_p, own = _log_probabilities(logits, targets)
    return own / log_p.sum(dim=1)


def normalized_focal(logits: Tensor, targets: Tensor, gamma: float = 0.5) -> Tensor:
    """Normalised focal loss f_y / sum_k f_k with f_k = (1 - p_k)^gamma u_k, modulators without gradient; in [0, 1].

    gamma >= 0; gamma = 0: `normalized_cross_entropy`. Sums to 1 over the classes. Ma et al. 2020 (arXiv 2006.13554).
    """
    gamma = _number("gamma", gamma, low=0)
    log_p, _ = _log_probabilities(logits, targets)
    # Relative to the row's largest, which cancels in the ratio, so that no gamma makes every modulator underflow.
    missing = -torch.expm1(log_p.detach())
    terms = (missing / missing.amax(dim=1, keepdim=True)).pow(gamma) * log_p
    return _pick(terms, targets) / terms.sum(dim=1)


def normalized_negative_cross_entropy(logits: Tensor, targets: Tensor, min_prob: float = 1e-7) -> Tensor:
    """Normalised negative cross-entropy 1 - s_y / sum_k s_k, s_k = ln(max(p_k, min_prob) / min_prob); in [0, 1].

    Sums to K - 1 over the classes. p_y below `min_prob` costs 1 and gives s_y no gradient. `min_prob` in (0, 1/K).
    Ye et al. 2023 (NeurIPS; extended arXiv 2412.02373).
    """
    log_p, _ = _log_probabilities(logits, targets)
    log_min = _log_minimum(min_prob, log_p.shape[1])
    margins = log_p.clamp(min=log_min) - log_min
    return 1 - _pick(margins, targets) / margins.sum(dim=1)


def normalized_negative_focal(logits: Tensor, targets: Tensor, gamma: float = 0.5, min_prob: float = 1e-7) -> Tensor:
    """Normalised negative focal loss 1 - s_y / sum_k s_k, s_k = f(min_prob) - f(max(p_k, min_prob)); in [0, 1].

    f(p) = -(1 - p)^gamma ln p, its modulator without gradient. gamma >= 0 (0: `normalized_negative_cross_entropy`),
    `min_prob` in (0, 1/K). Sums to K - 1 over the classes. Ye et al. 2023 (NeurIPS; extended arXiv 2412.02373).
    """
    gamma = _number("gamma", gamma, low=0)
    log_p, _ = _log_probabilities(logits, targets)
    log_min = _log_minimum(min_prob, log_p.shape[1])
    largest = -math.pow(1 - min_prob, gamma) * log_min
    # f falls with p, so this clamp is that of p_k at min_prob.
    margins = (largest + _modulator(log_p, gamma) * log_p).clamp(min=0)
    return 1 - _pick(margins, targets) / margins.sum(dim=1)


# ---- Asymmetric losses -----------------------------------------------------------------------------------------------


def asymmetric_generalized_cross_entropy(logits: Tensor, targets: Tensor, a: float, q: float) -> Tensor:
    """AGCE ((a + 1)^q - (a + p_y)^q) / q, a > 0, q > 0; in [0, ((a + 1)^q - a^q) / q].

    a -> 0: generalised cross-entropy (at 0 itself there is no gradient); q = 1: mean absolute error.
    Zhou et al. 2021 (arXiv 2106.03110).
    """
    a, q = _number("a", a, low=0, open_low=True), _number("q", q, low=0, open_low=True)
    scale = _power(a + 1, q)
    return -scale * torch.expm1(q * _log_lifted(_own(logits, targets), a)) / q


def asymmetric_unhinged(logits: Tensor, targets: Tensor, a: float, q: float) -> Tensor:
    """AUL ((a - p_y)^q - (a - 1)^q) / q, a > 1, q > 0; in [0, (a^q - (a - 1)^q) / q].

    q = 1: mean absolute error; at a = 1 there is no gradient. Zhou et al. 2021 (arXiv 2106.03110).
    """
    a, q = _number("a", a, low=1, open_low=True), _number("q", q, low=0, open_low=True)
    _power(a, q)
    _power(a / (a - 1), q)
    missing = -torch.expm1(_own(logits, targets))
    return math.pow(a - 1, q) * torch.expm1(q * torch.log1p(missing / (a - 1))) / q


def asymmetric_exponential(logits: Tensor, targets: Tensor, a: float) -> Tensor:
    """AEL exp(-p_y / a), a > 0; in [exp(-1/a), 1], so never 0. Zhou et al. 2021 (arXiv 2106.03110)."""
    a = _number("a", a, low=0, open_low=True)
    return torch.exp(-torch.exp(_own(logits, targets)) / a)


def asymmetric_squared(logits: Tensor, targets: Tensor, a: float) -> Tensor:
    """AMSE ||a e_y - p||^2 / K, a >= 1; a = 1: mean squared error over the classes. In [(a - 1)^2 / K, (a^2 + 1) / K].

    The asymmetric part of the joint asymmetric loss, arXiv 2507.17692.
    """
    a = _number("a", a, low=1)
    log_p, own = _log_probabilities(logits, targets)
    shift = own.new_full((len(own), 1), -a)
    return log_p.exp().scatter_add(1, targets.long().unsqueeze(1), shift).square().mean(dim=1)


# ---- Others ----------------------------------------------------------------------------------------------------------


def epsilon_softmax_cross_entropy(logits: Tensor, targets: Tensor, m: float) -> Tensor:
    """Cross-entropy of the eps-softmax: -ln max(p'_y, 1e-8), p'_k = (p_k + m [k = argmax p]) / (m + 1), m >= 0.

    In [0, -ln 1e-8]. m = 0: cross-entropy (down to the clamp). A target that shares the largest probability counts as
    the argmax, so that the loss does not depend on the order of the classes. Wang et al. 2024 (NeurIPS).
    """
    m = _number("m", m, low=0)
    log_p, own = _log_probabilities(logits, targets)
    predicted = own >= log_p.detach().amax(dim=1)
    log_p_prime = torch.where(predicted, _log_lifted(own, m), own - math.log1p(m))
    return -log_p_prime.clamp(min=math.log(EPSILON_SOFTMAX_FLOOR))


def jensen_shannon(logits: Tensor, targets: Tensor, weight: float) -> Tensor:
    """Jensen-Shannon loss of one prediction: `generalized_jensen_shannon` of a single view, weight in (0, 1)."""
    weight = _number("weight", weight, low=0, high=1, open_low=True, open_high=True)
    log_rest = math.log1p(-weight)
    own = _own(logits, targets)
    log_mean = _log_lifted(own, weight / (1 - weight))
    # Off the target the mean is (1 - weight) p_k, so its classes together give -(1 - p_y) ln(1 - weight): what is left
    # depends on p_y alone.
    divergence = torch.expm1(own) * log_rest + own.exp() * (own - log_mean)
    return (weight * log_mean - (1 - weight) * divergence) / ((1 - weight) * log_rest)


def generalized_jensen_shannon(views: Sequence[Tensor], targets: Tensor, weight: float) -> Tensor:
    """Generalised Jensen-Shannon loss of V >= 1 views' logits, each (N, K): the divergence of e_y and the views' p.

    e_y has the weight `weight` in (0, 1), the views share 1 - weight equally; divided by -(1 - weight) ln(1 - weight).
    In [0, H(weights) divided by the same]. weight -> 0: the cross-entropy, for a single view; weight -> 1: the mean
    absolute error of the views' mean prediction, logarithmically slowly.
    Englesson and Azizpour 2021 (arXiv 2105.04522).
    Computed from logarithms, without the official code's clamp of the mean at 1e-7: at published weights the two differ
    by less than 4e-7 per class, and the clamp would spoil the limit weight -> 1.
    """
    weight = _number("weight", weight, low=0, high=1, open_low=True, open_high=True)
    if isinstance(views, Tensor) or not views or any(view.shape != views[0].shape for view in views):
        raise ValueError("views must be a sequence of at least one tensor of logits, all of one shape (N, K)")
    log_p = torch.stack([_log_probabilities(view, targets)[0] for view in views])
    log_rest = math.log1p(-weight)
    log_shared = torch.logsumexp(log_p, dim=0) - math.log(len(views))
    own_shared = _pick(log_shared, targets)
    log_mean = _log_lifted(own_shared, weight / (1 - weight))
    # The mean without e_y first: one correction at the target then puts it in.
    divergence = (log_p.exp() * (log_p - log_shared)).sum(dim=2).mean(dim=0)
    divergence = divergence + torch.expm1(own_shared) * log_rest + own_shared.exp() * (own_shared - log_mean)
    return (weight * log_mean - (1 - weight) * divergence) / ((1 - weight) * log_rest)


def entropy_regularizer(logits: Tensor, min_prob: float = 1e-7) -> Tensor:
    """ln K + sum_k r_k ln r_k of the batch's mean prediction r: KL(r || uniform), a scalar in [0, ln K].

    0 iff r is uniform. Probabilities are clamped to [min_prob, 1 - min_prob] before the mean; the mean, divided by its
    sum, again; `min_prob` in (0, 1/K). Assumes balanced clean classes. A function of the batch, no mean over samples.
    Entropy regularisation of ANL-CE-ER (extended arXiv 2412.02373).
    """
    log_p = _log_softmax(logits)
    _log_minimum(min_prob, log_p.shape[1])
    total = log_p.exp().clamp(min_prob, 1 - min_prob).sum(dim=0)
    mean = (total / total.sum()).clamp(min_prob, 1 - min_prob)
    return math.log(log_p.shape[1]) + (mean * mean.log()).sum()


# ---- Shared parts ----------------------------------------------------------------------------------------------------


def _log_softmax(logits: Tensor) -> Tensor:
    """ln p (N, K), at least float32."""
    if logits.ndim != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        raise ValueError(f"logits must be floating-point (N, K) with K >= 2, got {logits.dtype} {tuple(logits.shape)}")
    dtype = logits.dtype if logits.dtype == torch.float64 else torch.float32
    return torch.log_softmax(logits, dim=1, dtype=dtype)


def _log_probabilities(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """ln p (N, K) and ln p_y (N,)."""
    log_p = _log_softmax(logits)
    _check_targets(logits, targets)
    return log_p, _pick(log_p, targets)


def _check_targets(logits: Tensor, targets: Tensor) -> None:
    if targets.shape != logits.shape[:1] or targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(
            f"targets must be whole numbers of shape ({len(logits)},), got {targets.dtype} {tuple(targets.shape)}"
        )


def _own(logits: Tensor, targets: Tensor) -> Tensor:
    """ln p_y (N,)."""
    return _log_probabilities(logits, targets)[1]


def _pick(rows: Tensor, targets: Tensor) -> Tensor:
    """The target's entry of each row: (N, K) -> (N,)."""
    return rows.gather(1, targets.long().unsqueeze(1)).squeeze(1)


def _floored(own: Tensor) -> Tensor:
    """ln of p_y clamped to [1e-7, 1]."""
    return own.clamp(min=math.log(PROBABILITY_FLOOR))


def _reverse(own: Tensor) -> Tensor:
    """Reverse cross-entropy from ln p_y."""
    return math.log(REVERSE_LABEL_FLOOR) * torch.expm1(_floored(own))


def _modulator(log_p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma from ln p, without gradient."""
    return (-torch.expm1(log_p.detach())).pow(gamma)


def _log_lifted(own: Tensor, lift: float) -> Tensor:
    """ln((p_y + lift) / (1 + lift)) from ln p_y, lift >= 0, exact to rounding for small and for large lift."""
    if lift >= 1:
        return torch.log1p(torch.expm1(own) / (1 + lift))
    # For small lift and p_y the argument of log1p would be rounded to -1.
    log_lift = math.log(lift) if lift > 0 else -math.inf
    return torch.logaddexp(own, own.new_full((), log_lift)) - math.log1p(lift)


def _number(
    name: str,
    value: float,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """`value` as a float if it is a finite number within the bounds; ValueError with the rule otherwise."""
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        above = value > low if open_low else value >= low
        below = value < high if open_high else value <= high
        if above and below:
            return float(value)
    left = "(" if open_low or low == -math.inf else "["
    right = ")" if open_high or high == math.inf else "]"
    raise ValueError(f"{name}={value} must be a number in {left}{low:g}, {high:g}{right}")


def _power(base: float, exponent: float) -> float:
    """base^exponent, base >= 1; ValueError where float32 could not hold it."""
    if exponent * math.log(base) > LARGEST_EXPONENT:
        raise ValueError(f"a and q need {base:g}^{exponent:g}, which float32 can't hold; choose milder ones")
    return math.pow(base, exponent)


def _log_minimum(min_prob: float, classes: int) -> float:
    """ln min_prob; ValueError unless it lies in (0, 1/K), without which the uniform prediction would be clamped."""
    _number("min_prob", min_prob, low=0, high=1, open_low=True, open_high=True)
    if min_prob * classes >= 1:
        raise ValueError(f"min_prob={min_prob} must be below 1/K = {1 / classes:g} for {classes} classes")
    return math.log(min_prob)


def _is_real(tensor: Tensor) -> bool:
    """Whether the values can be read: not a stand-in that has a shape only, not while a compiler traces."""
    return type(tensor) in (Tensor, torch.nn.Parameter) and not torch.compiler.is_compiling()


def _check_transition(transition: Tensor, classes: int) -> None:
    """ValueError unless (K, K), floating-point and, where it lies on the CPU, rows are distributions."""
    if transition.shape != (classes, classes) or not transition.is_floating_point():
        raise ValueError(
            f"transition must be floating-point ({classes}, {classes}), row = clean class, "
            f"got {transition.dtype} {tuple(transition.shape)}"
        )
    if transition.device.type != "cpu" or not _is_real(transition):
        return
    sums = transition.detach().sum(dim=1)
    # Written so that a NaN counts as wrong.
    right = (transition >= 0).all(dim=1) & ((sums - 1).abs() <= 1e-3)
    if not right.all():
        row = int(right.logical_not().nonzero()[0])
        raise ValueError(
            f"transition: row {row} must be a distribution (no negative entry, sum 1), its sum is {float(sums[row]):g}"
        )
