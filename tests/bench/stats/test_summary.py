"""The statistics of boards against NumPy and SciPy, and the printing of numbers."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from bench.leaderboard import formatting
from bench.stats import summary

SHARES = st.floats(0, 1, allow_nan=False)


@given(st.lists(SHARES, min_size=2, max_size=12))
def test_means_deviations_and_intervals_equal_those_of_scipy(values: list[float]) -> None:
    found = summary.summarise(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    half = reference.t.ppf(0.975, len(values) - 1) * error
    assert found.low == pytest.approx(np.mean(values) - half, abs=1e-9)
    assert found.high == pytest.approx(np.mean(values) + half, abs=1e-9)


@given(st.lists(SHARES, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_summary_does_not_depend_on_the_order(values: list[float], shuffler: random.Random) -> None:
    shuffled = list(values)
    shuffler.shuffle(shuffled)
    assert summary.summarise(shuffled) == summary.summarise(values)


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    assert summary.summarise([0.5]) == summary.Summary(1, 0.5)
    with pytest.raises(ValueError, match="nothing"):
        summary.summarise([])


@given(st.lists(st.floats(-1, 1, allow_nan=False), min_size=3, max_size=10))
def test_p_values_equal_those_of_scipy(values: list[float]) -> None:
    if np.std(values) < 1e-6:
        return
    expected = reference.ttest_1samp(values, 0, alternative="less").pvalue
    assert summary.p_below_zero(values) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("value", "expected"), [(-0.1, 0.0), (0.0, 1.0), (0.1, 1.0)])
def test_equal_differences_decide_by_their_sign(value: float, expected: float) -> None:
    assert summary.p_below_zero([value] * 5) == expected


def test_holm_steps_down_and_stops_at_the_first_that_holds() -> None:
    # By hand: 0.01 <= 0.05/4, 0.015 <= 0.05/3, 0.03 > 0.05/2 stops although 0.04 <= 0.05.
    assert summary.holm_rejections([0.04, 0.01, 0.03, 0.015]) == [False, True, False, True]
    assert summary.holm_rejections([]) == []


@given(st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=8))
def test_holm_rejects_between_bonferroni_and_no_correction(p_values: list[float]) -> None:
    for p, rejected in zip(p_values, summary.holm_rejections(p_values), strict=True):
        assert rejected or p > 0.05 / len(p_values)
        assert not rejected or p <= 0.05 + 1e-12


def test_the_set_of_the_best_is_paired() -> None:
    # Replicates differ by far more than rows do: only pairing tells b from a.
    hard = [0.5, 0.6, 0.7, 0.8, 0.9]
    a = dict(enumerate(hard))
    b = {seed: value - 0.02 - 0.001 * seed for seed, value in a.items()}
    c = {seed: value + (0.01 if seed % 2 else -0.012) for seed, value in a.items()}
    assert summary.may_be_best({"a": a, "b": b, "c": c}) == {"a", "c"}


def test_too_few_replicates_or_rows_say_nothing() -> None:
    four = dict.fromkeys(range(4), 0.5)
    assert summary.may_be_best({"a": four, "b": four}) is None
    assert summary.may_be_best({"a": dict.fromkeys(range(9), 0.5)}) is None


@given(st.lists(st.lists(SHARES, min_size=5, max_size=5), min_size=2, max_size=6))
def test_the_leader_is_always_in_its_set(rows: list[list[float]]) -> None:
    accuracies = {str(number): dict(enumerate(row)) for number, row in enumerate(rows)}
    found = summary.may_be_best(accuracies)
    assert found is not None and summary.leader(accuracies) in found <= set(accuracies)


@given(
    st.lists(st.lists(st.integers(0, 64), min_size=5, max_size=5), min_size=2, max_size=6),
    st.integers(0, 64),
    st.integers(0, 64),
)
def test_the_set_of_the_best_shrinks_as_gaps_grow(rows: list[list[int]], gap: int, more: int) -> None:
    best = summary.leader({str(number): dict(enumerate(row)) for number, row in enumerate(rows)})

    def candidates(behind: int) -> frozenset[str]:
        shifted = [[value - behind * (str(number) != best) for value in row] for number, row in enumerate(rows)]
        found = summary.may_be_best(
            {str(each): {k: v / 64 for k, v in enumerate(row)} for each, row in enumerate(shifted)}
        )
        assert found is not None
        return found

    assert candidates(gap + more) <= candidates(gap)
    assert candidates(100_000) == {best}


def test_the_true_best_is_kept_about_as_often_as_promised() -> None:
    """Of 4 equal rows, one leaves the set in 5 % of boards; 9 % of 400 is more than chance explains."""
    generator = np.random.default_rng(0)
    lost = 0
    for _ in range(400):
        values = generator.normal(0, 0.01, (8, 5)) - np.repeat([0, 0.5], 4)[:, None]
        found = summary.may_be_best({str(row): dict(enumerate(each)) for row, each in enumerate(values.tolist())})
        lost += found is not None and "0" not in found
    assert lost <= 0.09 * 400


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, 0.512, 0.524), "51.2 ± 1.2"),
        ((0.3, 0.5, 0.7), "50 ± 20"),
        ((0.901, 0.9032, 0.9054), "90.32 ± 0.22"),
        ((0.9, 0.9, 0.9), "90.00 ± 0.00"),
        ((0.9,), "90.0"),
    ],
)
def test_means_have_the_digits_that_their_spread_supports(values: tuple[float, ...], expected: str) -> None:
    assert formatting.format_mean_and_std(summary.summarise(values)) == expected


def test_unknown_numbers_are_dashes_and_no_zero_is_negative() -> None:
    assert {
        formatting.format_percent(None),
        formatting.format_seconds(None),
        formatting.format_number(None),
        formatting.format_interval(None),
    } == {"–"}
    assert formatting.format_percent(-0.00001) == "0.0"
    assert formatting.format_percent(-0.01) == "−1.0"
    assert [formatting.format_seconds(value) for value in (0.04, 9.94, 9.96, 1234.5)] == ["0.0", "9.9", "10", "1,234"]
