"""Transition matrices: what they must be, where they are singular, and which are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from datasets.interface import AsymmetricPairs, DataError
from datasets.noise import NoiseFacts
from datasets.noise.asym import Asymmetric
from datasets.noise.interface import Flips, Matrix
from datasets.noise.matrices import (
    flipped,
    identity,
    is_dominant,
    is_singular,
    realised,
    rotation,
    symmetric,
    symmetric_inclusive,
    validate,
)

rates = st.floats(0, 1)
sizes = st.integers(2, 12)


@st.composite
def flip_sets(draw: st.DrawFn, classes: int) -> Flips:
    """Any documented pairs: some classes, each flipped to one other."""
    left = draw(st.lists(st.integers(0, classes - 1), unique=True, max_size=classes))
    return tuple((each, draw(st.sampled_from([k for k in range(classes) if k != each]))) for each in left)


def assert_transition(matrix: Matrix) -> None:
    assert matrix.dtype == np.float64
    assert ((matrix >= 0) & (matrix <= 1)).all()
    assert np.abs(matrix.sum(axis=1) - 1).max() < 1e-12


@given(classes=sizes, rate=rates, data=st.data())
def test_rows_and_diagonals(classes: int, rate: float, data: st.DataObject) -> None:
    flips = data.draw(flip_sets(classes))
    left = [clean for clean, _ in flips]
    for matrix, diagonal in [
        (identity(classes), np.ones(classes)),
        (symmetric(classes, rate), np.full(classes, 1 - rate)),
        (symmetric_inclusive(classes, rate), np.full(classes, 1 - rate + rate / classes)),
        (flipped(classes, rotation([0] * classes), rate), np.full(classes, 1 - rate)),
        (flipped(classes, flips, rate), np.where(np.isin(np.arange(classes), left), 1 - rate, 1.0)),
    ]:
        assert_transition(matrix)
        assert np.allclose(np.diag(matrix), diagonal, rtol=0, atol=1e-15)


@given(classes=sizes, data=st.data())
def test_rate_zero_is_the_identity(classes: int, data: st.DataObject) -> None:
    for matrix in (
        symmetric(classes, 0.0),
        symmetric_inclusive(classes, 0.0),
        flipped(classes, data.draw(flip_sets(classes)), 0.0),
    ):
        assert np.array_equal(matrix, np.eye(classes))


@given(classes=sizes, rate=rates, data=st.data())
def test_renaming_the_classes_renames_the_matrix(classes: int, rate: float, data: st.DataObject) -> None:
    new = data.draw(st.permutations(range(classes)))
    flips = data.draw(flip_sets(classes))
    renamed = tuple((new[clean], new[noisy]) for clean, noisy in flips)
    for before, after in [
        (symmetric(classes, rate), symmetric(classes, rate)),
        (symmetric_inclusive(classes, rate), symmetric_inclusive(classes, rate)),
        (flipped(classes, flips, rate), flipped(classes, renamed, rate)),
    ]:
        assert np.array_equal(before, after[np.ix_(new, new)])


def test_asym_follows_renamed_pairs() -> None:
    facts = NoiseFacts(("a", "b", "c"), AsymmetricPairs(((0, 1),), "a paper"))
    renamed = NoiseFacts(("c", "b", "a"), AsymmetricPairs(((2, 1),), "a paper"))
    before, after = Asymmetric().matrix(facts, 0.3), Asymmetric().matrix(renamed, 0.3)
    assert np.array_equal(before, after[np.ix_([2, 1, 0], [2, 1, 0])])
    assert before[0].tolist() == [0.7, 0.3, 0.0]


def test_written_out() -> None:
    assert symmetric(3, 0.4).tolist() == [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]]
    assert np.allclose(symmetric_inclusive(4, 0.4)[0], [0.7, 0.1, 0.1, 0.1], rtol=0, atol=1e-15)
    assert flipped(3, rotation([0, 0, 0]), 0.25).tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]]


def test_rotation_inside_groups() -> None:
    assert rotation([0, 1, 0, 2, 1, 0]) == ((0, 2), (1, 4), (2, 5), (4, 1), (5, 0))
    assert rotation([0, 1, 2]) == ()


@pytest.mark.parametrize("flips", [((0, 0),), ((0, 3),), ((-1, 0),), ((0, 1), (0, 2))])
def test_pairs_that_are_none(flips: Flips) -> None:
    with pytest.raises(DataError):
        flipped(3, flips, 0.1)


def test_one_class_has_no_symmetric_noise() -> None:
    with pytest.raises(DataError, match="--noise none"):
        symmetric(1, 0.2)


# Singular exactly there: eigenvalues 1 - rate K / (K - 1); 1 - rate; 1 - rate + rate exp(2 pi i k / K); 1 - 2 rate.


@given(classes=sizes, rate=rates)
def test_sym_is_singular_at_one_rate(classes: int, rate: float) -> None:
    singular = (classes - 1) / classes
    assert is_singular(symmetric(classes, singular))
    assume(abs(rate - singular) > 1e-6)
    assert not is_singular(symmetric(classes, rate))


@given(classes=sizes, rate=rates)
def test_sym_incl_is_singular_at_one(classes: int, rate: float) -> None:
    assert is_singular(symmetric_inclusive(classes, 1.0))
    assume(rate < 1 - 1e-6)
    assert not is_singular(symmetric_inclusive(classes, rate))


@given(classes=sizes, rate=rates)
def test_pairflip_is_singular_at_a_half_for_even_class_counts(classes: int, rate: float) -> None:
    flips = rotation([0] * classes)
    assert is_singular(flipped(classes, flips, 0.5)) == (classes % 2 == 0)
    assume(abs(rate - 0.5) > 1e-6)
    assert not is_singular(flipped(classes, flips, rate))


@given(rate=rates)
def test_two_way_pairs_are_singular_at_a_half(rate: float) -> None:
    flips = ((3, 5), (5, 3))
    assert is_singular(flipped(10, flips, 0.5))
    assume(abs(rate - 0.5) > 1e-6)
    assert not is_singular(flipped(10, flips, rate))


@given(classes=sizes, rate=rates)
def test_dominance_of_sym_ends_where_it_is_singular(classes: int, rate: float) -> None:
    border = (classes - 1) / classes
    assert not is_dominant(symmetric(classes, border))
    assume(abs(rate - border) > 1e-6)
    assert is_dominant(symmetric(classes, rate)) == (rate < border)


def test_dominance_is_about_the_largest_other_entry() -> None:
    """Not about the sum of the others, as in linear algebra; and equal is not larger."""
    assert is_dominant(np.array([[0.4, 0.3, 0.3], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]]))
    assert not is_dominant(np.array([[0.5, 0.5, 0.0], [0, 1, 0], [0, 0, 1]]))
    assert not is_dominant(flipped(4, ((1, 2),), 0.5))
    assert is_dominant(flipped(4, ((1, 2),), 0.49))
    assert is_dominant(np.eye(1))


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.ones((2, 3)) / 3, "not square: 2 rows, 3 columns"),
        (np.eye(3), "of 3 classes, but the data set has 2"),
        (np.ones(4) / 4, "1 axes"),
        ([[np.nan, 1], [0, 1]], "not a finite number"),
        ([[np.inf, 0], [0, 1]], "row 0, column 0: inf"),
        ([[1.2, -0.2], [0, 1]], "negative"),
        ([[1.5, 0], [0, 1]], "above 1"),
        ([[0.5, 0.4], [0, 1]], "row 0 sums to 0.9"),
        ([[0.5, 0.499998], [0, 1]], "don't sum to 1"),
        ([[0.7, 0.2], [0.3, 0.8]], "transpose it"),
        ([["a", "b"], ["c", "d"]], "real numbers"),
        (np.eye(2) + 0j, "complex128"),
        (np.eye(2, dtype=bool), "bool"),
    ],
)
def test_malformed(matrix: object, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        validate(matrix, 2)  # type: ignore[arg-type]


def test_at_most_ten_offenders() -> None:
    with pytest.raises(DataError, match="and 15 more") as caught:
        validate(np.full((5, 5), -1.0), 5)
    assert len(str(caught.value).splitlines()) == 12


def test_small_deviations_are_normalised_away() -> None:
    thirds = np.full((3, 3), 0.333333)
    assert_transition(validate(thirds, 3))
    assert np.allclose(validate(thirds, 3), 1 / 3, rtol=0, atol=1e-15)
    assert np.array_equal(validate([[1, 0], [0, 1]], 2), np.eye(2))


@given(classes=sizes, data=st.data())
def test_any_transition_matrix_passes_unchanged(classes: int, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 50), min_size=classes * classes, max_size=classes * classes))
    counts = np.array(weights, dtype=np.float64).reshape(classes, classes)
    matrix = counts / counts.sum(axis=1, keepdims=True)
    assert np.allclose(validate(matrix, classes), matrix, rtol=0, atol=1e-15)


def test_realised_matrix_by_hand() -> None:
    counted = realised(np.array([0, 0, 0, 0, 2]), np.array([0, 0, 1, 0, 1]), 3)
    assert counted.tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0, 1, 0]]
