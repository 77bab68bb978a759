"""Exact nearest neighbours against a sort of all distances, and the shares that neighbours are mixed by."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods.pieces import neighbours
from methods.pieces.neighbours import mix_neighbours, nearest, nearest_in_batch, neighbour_weights

seeds = st.integers(0, 2**31)
METRICS = ["euclidean", "cosine"]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distances(queries: Tensor, bank: Tensor, metric: str) -> Tensor:
    """All distances in float64, (Q, N)."""
    a, b = queries.double(), bank.double()
    if metric == "cosine":
        a, b = (values / values.norm(dim=1, keepdim=True).clamp(min=1e-12) for values in (a, b))
        return 1 - a @ b.T
    return (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(dim=2).sqrt()


@given(seeds, st.integers(2, 300), st.integers(1, 7), st.data(), st.sampled_from(METRICS), st.booleans())
def test_what_is_found_is_what_a_sort_of_all_distances_finds(
    seed: int, samples: int, features: int, data: st.DataObject, metric: str, blocks: bool
) -> None:
    bank = draw(seed, samples, features)
    count = data.draw(st.integers(1, min(samples - 1, 12)))
    whole = neighbours.BLOCK
    neighbours.BLOCK = 500 if blocks else whole
    try:
        found = nearest(bank, bank, count, metric, torch.arange(samples))  # type: ignore[arg-type]
    finally:
        neighbours.BLOCK = whole
    assert found.shape == (samples, count)
    assert found.dtype == torch.int64
    assert not (found == torch.arange(samples).unsqueeze(1)).any()
    expected = distances(bank, bank, metric).fill_diagonal_(torch.inf)
    best = expected.sort(dim=1).values[:, :count]
    # the same distances in the same order; two that float32 can't tell apart may change places
    assert torch.allclose(expected.gather(1, found), best, atol=1e-5 if metric == "cosine" else 2e-3)
    assert all(len(set(row)) == count for row in found.tolist())


@given(seeds, st.integers(140, 400), st.integers(1, 5), st.sampled_from(METRICS))
def test_among_equals_the_lowest_position_comes_first(seed: int, samples: int, count: int, metric: str) -> None:
    """Few distinct vectors, many times each: nearly everything is a tie. Small integers, so that products are exact."""
    kinds = torch.eye(4)[torch.randint(4, (samples,), generator=torch.Generator().manual_seed(seed))]
    # opposite vectors bring the mean to 0, which leaves Euclidean distances exact as well
    bank = torch.cat([kinds, -kinds])
    found = nearest(bank, bank, count, metric, torch.arange(len(bank)))  # type: ignore[arg-type]
    exact = distances(bank, bank, metric).round(decimals=6).fill_diagonal_(torch.inf)
    assert torch.equal(found, exact.sort(dim=1, stable=True).indices[:, :count])


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_find_each_other_and_not_themselves(metric: str) -> None:
    bank = draw(0, 6, 4).repeat(2, 1)
    found = nearest(bank, bank, 1, metric, torch.arange(12)).squeeze(1)  # type: ignore[arg-type]
    assert found.tolist() == [*range(6, 12), *range(6)]
    alike = torch.ones(5, 3)
    assert nearest(alike, alike, 1, metric, torch.arange(5)).squeeze(1).tolist() == [1, 0, 0, 0, 0]  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", METRICS)
def test_queries_need_not_be_in_the_bank(metric: str) -> None:
    bank, queries = draw(1, 90, 5), draw(2, 7, 5)
    found = nearest(queries, bank, 3, metric)  # type: ignore[arg-type]
    assert torch.equal(found, distances(queries, bank, metric).sort(dim=1).indices[:, :3])
    assert nearest(bank[:4], bank, 1, metric).squeeze(1).tolist() == [0, 1, 2, 3]  # type: ignore[arg-type]
    assert nearest(queries[:0], bank, 3, metric).shape == (0, 3)  # type: ignore[arg-type]


def test_a_mean_far_from_nought_does_not_drown_the_distances() -> None:
    bank = draw(3, 200, 8)
    everyone = torch.arange(200)
    shifted = nearest(bank + 1000, bank + 1000, 1, "euclidean", everyone)
    expected = distances(bank + 1000, bank + 1000, "euclidean").fill_diagonal_(torch.inf)
    assert torch.equal(shifted.squeeze(1), expected.argmin(dim=1))


def test_a_zero_vector_is_at_right_angles_to_everything() -> None:
    bank = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1.0, 0.1]])
    assert nearest(bank, bank, 3, "cosine", torch.arange(4)).tolist() == [[1, 2, 3], [3, 0, 2], [0, 3, 1], [1, 0, 2]]


@given(seeds, st.integers(3, 40), st.sampled_from(METRICS))
def test_neighbours_move_with_the_order_of_the_samples(seed: int, samples: int, metric: str) -> None:
    bank = draw(seed, samples, 6)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    found = nearest_in_batch(bank, 2, metric)  # type: ignore[arg-type]
    moved = nearest_in_batch(bank[order], 2, metric)  # type: ignore[arg-type]
    assert torch.equal(order[moved], found[order])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_batch_too_small_for_all_neighbours_gives_what_it_has(size: int) -> None:
    found = nearest_in_batch(draw(0, size, 4), 5)
    assert found.shape == (size, size - 1)
    for row, others in enumerate(found.tolist()):
        assert sorted(others) == [other for other in range(size) if other != row]


@pytest.mark.parametrize("count", [0, -1, 5, 6])
def test_as_many_neighbours_as_samples_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"count must be in \[1, 4\]"):
        nearest(torch.eye(5), torch.eye(5), count)


def test_shapes_and_metrics_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one D"):
        nearest(torch.eye(3), torch.eye(5), 1)
    with pytest.raises(ValueError, match="euclidean"):
        nearest(torch.eye(5), torch.eye(5), 1, "manhattan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exclude"):
        nearest(torch.eye(5), torch.eye(5), 1, exclude=torch.arange(3))


# ---- Shares ----------------------------------------------------------------------------------------------------------

probabilities = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=6)


@given(probabilities, st.booleans())
def test_shares_sum_to_one_and_the_samples_own_is_above_nought(clean: list[float], symmetric: bool) -> None:
    shares = neighbour_weights(torch.tensor([clean]), symmetric=symmetric)
    assert shares.isfinite().all()
    assert shares.sum().item() == pytest.approx(1, abs=1e-6)
    assert shares.min() >= 0
    assert 0 < shares[0, 0] <= 1


@given(st.lists(st.floats(2**-6, 1, width=32), min_size=2, max_size=6), st.floats(1e-3, 1e3), st.booleans())
def test_shares_do_not_depend_on_the_scale_of_the_weights(clean: list[float], scale: float, symmetric: bool) -> None:
    weights = torch.tensor([clean])
    expected = neighbour_weights(weights, symmetric=symmetric)
    assert torch.allclose(neighbour_weights(scale * weights, symmetric=symmetric), expected, atol=1e-4)


@given(st.floats(0, 1, width=32), st.integers(1, 6))
def test_equal_weights_are_equal_shares(weight: float, count: int) -> None:
    shares = neighbour_weights(torch.full((3, count + 1), weight))
    assert torch.allclose(shares, torch.full_like(shares, 1 / (count + 1)))


def test_the_released_shares_differ_only_where_all_weights_are_tiny() -> None:
    clean = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.3, 0.6]])
    ours, released = (neighbour_weights(clean, symmetric=symmetric) for symmetric in (True, False))
    assert torch.allclose(ours[:, 0], torch.tensor([0.5, 0, 1, 1 / 3]), atol=1e-6)
    assert torch.allclose(released[:, 0], torch.tensor([1.0, 0, 1, 1 / 3]), atol=1e-6)


@given(seeds, st.integers(1, 4))
def test_mixing_is_the_weighted_sum_and_one_share_is_the_sample(seed: int, count: int) -> None:
    values = [draw(seed + j, 3, 2, 4) for j in range(count + 1)]
    shares = draw(seed, 3, count + 1).softmax(dim=1)
    expected = torch.einsum("ij,jihw->ihw", shares, torch.stack(values))
    assert torch.allclose(mix_neighbours(values, shares), expected, atol=1e-5)
    alone = torch.zeros(3, count + 1)
    alone[:, 0] = 1
    assert torch.equal(mix_neighbours(values, alone), values[0])
