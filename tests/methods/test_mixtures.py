"""Mixtures on losses: what holds for any losses, what they find, and that nothing in them is left to chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.pieces import mixtures
from methods.pieces.mixtures import beta_clean_probability, gaussian_clean_probability, normalised

torch.set_num_threads(1)

Fit = Callable[[Tensor], Tensor]
FITS = [gaussian_clean_probability, beta_clean_probability]

# floats that collide, so that ties, constants and lone outliers come up often
LOSSES = st.lists(
    st.one_of(st.floats(0, 30, width=32), st.sampled_from([0.0, 1.0, 1e-7, 1e-3, 25.0])), min_size=0, max_size=25
).map(lambda values: torch.tensor(values, dtype=torch.float32))


def losses_of(clean: int, wrong: int, seed: int = 0) -> Tensor:
    """Small losses of clean labels, then large ones of wrong labels."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(clean, generator=generator) ** 3
    large = 4 + torch.randn(wrong, generator=generator).abs()
    return torch.cat([small, large])


@given(LOSSES)
def test_normalised_losses_span_zero_to_one_or_are_all_zero(losses: Tensor) -> None:
    scaled = normalised(losses)
    assert scaled.shape == losses.shape and scaled.isfinite().all()
    if len(losses) and scaled.any():
        assert float(scaled.min()) == 0 and float(scaled.max()) == 1
        assert (scaled[losses.argsort()].diff() >= 0).all()
    elif len(losses):
        assert float(losses.max() - losses.min()) <= 1e-6 * float(losses.abs().max())


def test_rounding_noise_is_not_blown_up_to_a_range() -> None:
    assert not normalised(torch.full((9,), 2.302585) + torch.arange(9) * 1e-7).any()


@settings(max_examples=30)
@pytest.mark.parametrize("fit", FITS)
@given(losses=LOSSES)
def test_posteriors_are_probabilities_that_never_rise_with_the_loss(fit: Fit, losses: Tensor) -> None:
    clean = fit(losses)
    assert clean.shape == losses.shape and clean.dtype == torch.float32
    assert ((clean >= 0) & (clean <= 1)).all()
    ordered = clean[losses.argsort()]
    assert (ordered[1:] <= ordered[:-1]).all()


@settings(max_examples=30)
@pytest.mark.parametrize("fit", FITS)
@given(losses=LOSSES, seed=st.integers(0, 99))
def test_posteriors_go_with_their_samples(fit: Fit, losses: Tensor, seed: int) -> None:
    order = torch.randperm(len(losses), generator=torch.Generator().manual_seed(seed))
    # sums over samples in another order differ by rounding; a tie in the split of the start may then fall otherwise
    assert torch.equal(fit(losses), fit(losses))
    spread = losses + torch.arange(len(losses)) * 0.37
    assert torch.allclose(fit(spread[order]), fit(spread)[order], atol=1e-3)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("losses", [[], [3.0], [2.0] * 7, [0.0, 0.0]])
def test_losses_that_cannot_be_told_apart_are_all_clean(fit: Fit, losses: list[float]) -> None:
    assert torch.equal(fit(torch.tensor(losses)), torch.ones(len(losses)))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("wrong", [1, 9])
def test_two_values_are_told_apart(fit: Fit, wrong: int) -> None:
    clean = fit(torch.tensor([0.1] * 9 + [5.0] * wrong))
    assert (clean[:9] > 0.9).all() and (clean[9:] < 0.1).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("wrong", [0.1, 0.4, 0.9])
def test_small_losses_are_found_clean_at_any_rate_of_noise(fit: Fit, wrong: float) -> None:
    count = round(2000 * wrong)
    clean = fit(normalised(losses_of(2000 - count, count)))
    assert ((clean > 0.5) == (torch.arange(2000) < 2000 - count)).float().mean() > 0.97


def test_neither_the_scale_nor_the_origin_of_losses_matters_after_normalising() -> None:
    losses = losses_of(60, 40)
    first, second = (gaussian_clean_probability(normalised(each)) for each in (losses, 7 * losses + 3))
    assert torch.allclose(first, second, atol=1e-3)


def test_the_gaussian_posterior_is_that_of_the_fitted_mixture() -> None:
    sklearn = pytest.importorskip("sklearn.mixture")
    values = normalised(losses_of(300, 200))
    table = values.double().numpy()[:, None]
    # scikit-learn's own start, k-means, agrees with the exact two-means where the two groups are as plain as here
    mixture = sklearn.GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(table)
    expected = torch.from_numpy(mixture.predict_proba(table)[:, mixture.means_[:, 0].argmin()]).float()
    assert torch.allclose(gaussian_clean_probability(values), expected, atol=1e-6)


def test_the_largest_losses_are_not_called_clean_by_a_wide_clean_component() -> None:
    # a narrow group on the right inside the tail of a wide one: its raw posterior rises again beyond the group
    wide = torch.linspace(0, 0.6, 300)
    narrow = 0.7 + torch.linspace(-0.005, 0.005, 200)
    losses = torch.cat([wide, narrow, torch.tensor([1.0])])
    clean = gaussian_clean_probability(losses)
    assert float(clean[-1]) <= float(clean[400])
    assert float(clean[-1]) < 0.5


def test_the_start_is_the_best_split_in_two() -> None:
    values = torch.rand(30, generator=torch.Generator().manual_seed(4)).double()
    table = values.numpy()[:, None]
    weights, means, covariances = mixtures._two_means(table)
    ordered = values.sort().values
    costs = [
        float(((ordered[:k] - ordered[:k].mean()) ** 2).sum() + ((ordered[k:] - ordered[k:].mean()) ** 2).sum())
        for k in range(1, 30)
    ]
    best = costs.index(min(costs)) + 1
    assert weights[0] == pytest.approx(best / 30)
    assert means[:, 0] == pytest.approx([float(ordered[:best].mean()), float(ordered[best:].mean())])
    spread = float(((ordered[:best] - ordered[:best].mean()) ** 2).mean())
    assert covariances[0, 0, 0] == pytest.approx(spread + 5e-4)


def test_several_columns_are_judged_by_the_first() -> None:
    generator = torch.Generator().manual_seed(0)
    loss = normalised(losses_of(200, 100))
    quality = torch.cat([torch.rand(200, generator=generator) * 0.5, 0.5 + torch.rand(100, generator=generator) * 0.5])
    clean = gaussian_clean_probability(torch.stack([loss, quality], dim=1))
    assert clean.shape == (300,) and float((clean[:200] > 0.5).float().mean()) > 0.95
    assert float((clean[200:] < 0.5).float().mean()) > 0.95
    assert torch.equal(gaussian_clean_probability(torch.stack([torch.ones(5), torch.rand(5)], dim=1)), torch.ones(5))


def test_outliers_do_not_set_the_scale_of_the_beta_mixture() -> None:
    losses = losses_of(600, 390)
    outliers = torch.cat([losses, torch.full((10,), 400.0)])
    without, beside = beta_clean_probability(losses), beta_clean_probability(outliers)[:990]
    assert float((without - beside).abs().mean()) < 0.05
    assert (beta_clean_probability(outliers)[990:] < 0.1).all()


@pytest.mark.parametrize("fit", FITS)
def test_values_that_are_not_finite_are_refused(fit: Fit) -> None:
    with pytest.raises(ValueError, match="finite"):
        fit(torch.tensor([0.0, float("nan"), 1.0]))


@pytest.mark.parametrize("fit", FITS)
def test_global_random_state_is_neither_read_nor_moved(fit: Fit) -> None:
    losses = losses_of(50, 30)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = fit(losses)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    np.random.random()  # noqa: NPY002
    assert torch.equal(fit(losses), first)
