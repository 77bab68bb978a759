"""Two-component mixtures on per-sample losses: the probability that a given label is right.

Nothing random: the fits start from the exact one-dimensional two-means of the values or from fixed parameters.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from torch import Tensor, as_tensor, zeros_like

_EM_STEPS = 10
_REGULARISER = 5e-4
_CONSTANT = 1e-6
_BETA_RANGE = (1e-3, 1 - 1e-3)


def normalised(losses: Tensor) -> Tensor:
    """Min-max to [0, 1] over all entries (n,); all 0 where they differ by no more than rounding, or there are none."""
    if not len(losses):
        return losses
    low, high = losses.amin(), losses.amax()
    span = high - low
    if not span > _CONSTANT * losses.abs().amax():
        return zeros_like(losses)
    return (losses - low) / span


def gaussian_clean_probability(values: Tensor) -> Tensor:
    """Posterior of the component with the smaller (first) mean of a two-component Gaussian mixture; float32 (n,).

    `values` (n,) or (n, d), such as min-max normalised losses, the smaller the cleaner in their first column. Ten steps
    of expectation maximisation at most, tolerance 1e-2, 5e-4 added to the variances, full covariances: DivideMix's
    (Li et al., ICLR 2020, official code). It starts from the exact two-means of the first column instead of from a
    seeded k-means. Of single values it is made non-increasing: the raw posterior of the wider component rises again in
    the far tails, which would call the largest losses clean. Values that can't be told apart: probability 1 for all.
    Raises ValueError where a value isn't finite.
    """
    table = _as_numpy(values)
    table = table[:, None] if values.dim() == 1 else table
    if _is_constant(table[:, 0]):
        return _as_probability(np.ones(len(table)), values)
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    weights, means, covariances = _two_means(table)
    mixture = GaussianMixture(
        2,
        max_iter=_EM_STEPS,
        tol=1e-2,
        reg_covar=_REGULARISER,
        weights_init=weights,
        means_init=means,
        precisions_init=np.linalg.inv(covariances),
        random_state=0,
    )
    with warnings.catch_warnings():
        # ten steps are the method's definition, whether or not they converge
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(table)
    clean = int(mixture.means_[:, 0].argmin())
    if not mixture.means_[1 - clean, 0] > mixture.means_[clean, 0]:
        return _as_probability(np.ones(len(table)), values)
    posterior = mixture.predict_proba(table)[:, clean]
    if table.shape[1] == 1:
        posterior = _non_increasing(table[:, 0], posterior, float(mixture.means_[clean, 0]))
    return _as_probability(posterior, values)


def beta_clean_probability(losses: Tensor) -> Tensor:
    """Posterior of the component with the smaller mean of a two-component Beta mixture on losses (n,); float32 (n,).

    Losses are scaled so that their 5th and 95th percentiles are 0 and 1, and clipped to [1e-3, 1 - 1e-3]; the mixture
    is fitted to those between the percentiles (where these are equal: to all losses, by their range), by ten steps of
    expectation maximisation with weighted moments, from Beta(1, 2) and Beta(2, 1) with weights 1/2. Source: Arazo et
    al., ICML 2019, and its official code (PaulAlbert31/LabelNoiseCorrection), which reads the posterior from a table of
    100 bins and raises the other component's after its maximum only; here it is exact, and non-increasing on both
    sides. Losses that can't be told apart: probability 1 for all. Raises ValueError where a loss isn't finite.
    """
    raw = _as_numpy(losses)
    if _is_constant(raw):
        return _as_probability(np.ones(len(raw)), losses)
    from scipy.special import betaln, expit

    # both among the losses, so that some are between them however few there are
    low, high = np.percentile(raw, 5, method="lower"), np.percentile(raw, 95, method="higher")
    if not high - low > _CONSTANT * np.abs(raw).max():
        low, high = raw.min(), raw.max()
    everything = ((raw - low) / (high - low)).clip(*_BETA_RANGE)
    values = everything[(raw >= low) & (raw <= high)]
    first, second, weights = np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([0.5, 0.5])

    def log_odds(points: Any) -> Any:
        """ln of component 0 over component 1, of points (n,)."""
        terms = np.log(weights) - betaln(first, second)
        slopes = (first[0] - first[1]) * np.log(points) + (second[0] - second[1]) * np.log1p(-points)
        return slopes + terms[0] - terms[1]

    for _ in range(_EM_STEPS):
        share = expit(log_odds(values))
        shares = np.stack([share, 1 - share])
        # a component that lost all its samples keeps a trace of each, and so finite moments
        shares = shares + 1e-12
        total = shares.sum(axis=1)
        mean = shares @ values / total
        variance = np.maximum((shares * (values - mean[:, None]) ** 2).sum(axis=1) / total, 1e-8)
        # a two-point distribution has the variance mean (1 - mean), where the parameters would be 0
        first = mean * np.maximum(mean * (1 - mean) / variance - 1, 1e-4)
        second = first * (1 - mean) / mean
        weights = total / total.sum()
    means = first / (first + second)
    if means[0] == means[1]:
        return _as_probability(np.ones(len(raw)), losses)
    clean = int(means.argmin())
    posterior = expit(log_odds(everything) if clean == 0 else -log_odds(everything))
    return _as_probability(_non_increasing(everything, posterior, float(means[clean])), losses)


def _as_numpy(values: Tensor) -> Any:
    """Float64 copy on the CPU; ValueError unless all are finite."""
    array = values.detach().double().cpu().numpy()
    if not np.isfinite(array).all():
        raise ValueError("a mixture can't be fitted to values that aren't finite; the network has diverged")
    return array


def _as_probability(posterior: Any, like: Tensor) -> Tensor:
    return as_tensor(np.ascontiguousarray(posterior)).clamp(0, 1).float().to(like.device)


def _is_constant(values: Any) -> bool:
    """Whether no two values differ by more than rounding, or there are none; the rule of `normalised`."""
    return not len(values) or not values.max() - values.min() > _CONSTANT * np.abs(values).max()


def _two_means(table: Any) -> tuple[Any, Any, Any]:
    """Weights (2,), means (2, d), covariances (2, d, d) of the exact two-means of the first column, which must vary."""
    values = np.sort(table[:, 0])
    count = len(values)
    below = np.arange(1, count)
    # the split with the largest variance between the two sides, never between equal values
    between = (values - values.mean()).cumsum()[:-1] ** 2 / (below * (count - below))
    split = int(np.where(values[1:] > values[:-1], between, -1.0).argmax())
    small = table[:, 0] <= values[split]
    parts = (table[small], table[~small])
    weights = np.array([len(part) / count for part in parts])
    means = np.stack([part.mean(axis=0) for part in parts])
    spread = [(part - mean).T @ (part - mean) / len(part) for part, mean in zip(parts, means, strict=True)]
    return weights, means, np.stack(spread) + _REGULARISER * np.eye(table.shape[1])


def _non_increasing(values: Any, posterior: Any, pivot: float) -> Any:
    """`posterior` made non-increasing in `values`: a running minimum above `pivot`, a running maximum below it."""
    order = values.argsort(kind="stable")
    raw = posterior[order]
    start = int(np.searchsorted(values[order], pivot))
    above = np.minimum.accumulate(raw[start:])
    below = np.maximum.accumulate(np.concatenate([above[:1], raw[:start][::-1]]))[len(above[:1]) :][::-1]
    repaired = np.empty_like(posterior)
    repaired[order] = np.concatenate([below, above])
    return repaired
