"""The rules of every choice: which epochs count, how sure a criterion is, and what stays as it was."""

from __future__ import annotations

import math
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats.holdout_choice import (
    CURVES,
    HoldoutScore,
    choose_setting,
    count_last_epochs,
    count_needed_splits,
    curve_criterion,
    record_criterion,
    score_splits,
)

shares = st.floats(0, 1)
scores = st.builds(HoldoutScore, mean=shares, error=st.floats(0, 0.2), splits=st.just(()), labels=st.just(2000))
several = st.lists(st.none() | scores, min_size=1, max_size=12)


@pytest.mark.parametrize(("epochs", "last"), [(1, 1), (2, 1), (19, 1), (20, 2), (30, 3), (120, 10), (300, 10)])
def test_a_tenth_of_the_epochs_counts(epochs: int, last: int) -> None:
    assert count_last_epochs(epochs) == last


def test_a_criterion_is_the_mean_of_the_last_epochs_or_none() -> None:
    assert curve_criterion([0.9, 0.1, 0.2, 0.3], 3) == pytest.approx(0.2)
    assert curve_criterion([0.9], 1) == 0.9
    assert curve_criterion([0.9, None], 2) is None
    assert curve_criterion([math.nan], 1) is None
    assert curve_criterion([0.5], 2) is None and curve_criterion([], 1) is None


def test_objectives_read_the_hold_out_and_nothing_reads_the_test_set() -> None:
    curves = {"noisy_holdout_accuracy": [0.25], "clean_holdout_accuracy": [0.75], "test_accuracy": [1.0]}
    record = {"curves": curves}
    assert record_criterion(record, 1) == 0.25 and record_criterion(record, 1, "clean-val") == 0.75
    assert not any("test" in name for name in CURVES.values())
    assert record_criterion({"curves": {}}, 1) is None


@given(st.lists(shares, min_size=1, max_size=20), st.integers(1, 10**6))
def test_a_standard_error_is_of_the_splits_but_never_below_that_of_counting(splits: list[float], labels: int) -> None:
    found = score_splits(splits, labels)
    assert found.mean == pytest.approx(fmean(splits))
    assert found.error >= math.sqrt(max(0.0, found.mean * (1 - found.mean)) / labels) - 1e-12
    if len(splits) > 1:
        assert found.error >= stdev(splits) / math.sqrt(len(splits)) - 1e-12


def test_splits_that_agree_by_chance_are_no_certainty() -> None:
    assert score_splits([0.5, 0.5], 100).error == pytest.approx(0.05)
    assert score_splits([0.5], 100).error == pytest.approx(0.05)
    assert score_splits([0.2, 0.8], 10**9).error == pytest.approx(0.3)
    for splits, labels in (([], 100), ([0.5], 0)):
        with pytest.raises(ValueError):
            score_splits(splits, labels)


def at(*means: float | None, error: float = 0.125) -> list[HoldoutScore | None]:
    return [None if mean is None else HoldoutScore(mean, error, (), 2000) for mean in means]


@pytest.mark.parametrize(
    ("means", "chosen", "best", "kept"),
    [
        ((0.5, 0.5), 0, 0, True),
        ((0.5, 0.625), 0, 1, True),  # exactly one standard error below: not more
        ((0.5, 0.6875), 1, 1, False),
        ((0.5, 0.75, 0.75), 1, 1, False),  # of equal ones the first
        ((None, 0.25), 1, 1, False),
        ((0.5, None), 0, 0, True),
    ],
)
def test_own_values_stay_unless_they_lie_more_than_one_standard_error_below_the_best(
    means: tuple[float | None, ...], chosen: int, best: int, kept: bool
) -> None:
    decision = choose_setting(at(*means), default=0)
    assert decision is not None
    assert (decision.chosen, decision.best, decision.kept) == (chosen, best, kept)


@given(several)
def test_every_choice_follows_the_rule(found: list[HoldoutScore | None]) -> None:
    decision = choose_setting(found, default=0)
    known = [each for each in found if each is not None]
    if not known:
        assert decision is None
        return
    assert decision is not None
    best, own, chosen = found[decision.best], found[0], found[decision.chosen]
    assert best is not None and chosen is not None and best.mean == max(each.mean for each in known)
    assert decision.kept == (own is not None and own.mean >= best.mean - best.error)
    assert decision.chosen == (0 if decision.kept else decision.best)


@given(st.integers(1, 10_000))
def test_as_many_splits_as_hold_two_thousand_labels(held_out: int) -> None:
    assert count_needed_splits(held_out) * held_out >= 2000 > (count_needed_splits(held_out) - 1) * held_out
