"""What takes part, and what is held out."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.draw import draw_indices, hold_out, long_tail
from datasets.interface import DataError, Labels
from datasets.rounding import half_up, largest_remainder, ranks

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=120).map(lambda each: np.array(each, dtype=np.int64))


def digest(index: Labels) -> str:
    return hashlib.sha256(index.astype("<i8").tobytes()).hexdigest()[:16]


def balanced(each: int, classes: int) -> Labels:
    return np.arange(each * classes, dtype=np.int64) % classes


def test_all_by_default() -> None:
    assert draw_indices(balanced(5, 3), 3).tolist() == list(range(15))


@given(labels=label_lists, seed=st.integers(0, 9), data=st.data())
def test_smaller_draws_are_nested_and_keep_every_class(labels: Labels, seed: int, data: st.DataObject) -> None:
    large = data.draw(st.integers(1, len(labels)))
    small = data.draw(st.integers(1, large))
    drawn = draw_indices(labels, 5, large, seed=seed)
    assert len(np.unique(drawn)) == large
    assert np.all(np.diff(drawn) > 0)
    assert set(draw_indices(labels, 5, small, seed=seed)) <= set(drawn)
    present = len(np.unique(labels))
    assert len(np.unique(labels[drawn])) == present if large >= present else np.bincount(labels[drawn]).max() == 1


def test_draw_is_stratified() -> None:
    counts = np.array([500, 300, 150, 50])
    labels = np.repeat(np.arange(4), counts)
    for size in (100, 37, 640):
        drawn = np.bincount(labels[draw_indices(labels, 4, size)], minlength=4)
        assert np.abs(drawn - size * counts / 1000).max() < 1


def test_equal_classes_differ_by_one_at_most() -> None:
    for seed in range(5):
        drawn = np.bincount(balanced(20, 10)[draw_indices(balanced(20, 10), 10, 57, seed=seed)])
        assert sorted(drawn.tolist()) == [5] * 3 + [6] * 7


@pytest.mark.parametrize(("imbalance", "first", "last"), [(0.1, 5000, 500), (0.01, 5000, 50), (1.0, 5000, 5000)])
def test_long_tail_of_cifar10(imbalance: float, first: int, last: int) -> None:
    sizes = long_tail(np.full(10, 5000), imbalance)
    assert (sizes[0], sizes[-1]) == (first, last)
    expected = [int(5000 * imbalance ** (c / 9) + 1e-6) for c in range(10)]
    assert sizes.tolist() == expected


def test_long_tail_of_cifar100_has_the_published_size() -> None:
    """Cui et al. 2019 and Cao et al. 2019: 10,847 training images at ratio 100."""
    assert int(long_tail(np.full(100, 500), 0.01).sum()) == 10_847


@given(
    available=st.lists(st.integers(1, 60), min_size=1, max_size=8).map(np.array),
    imbalance=st.floats(0.001, 1.0),
)
def test_long_tail_stays_within_what_there_is(available: Labels, imbalance: float) -> None:
    sizes = long_tail(available, imbalance)
    assert np.all((sizes >= 1) & (sizes <= available))
    profile = imbalance ** (np.arange(len(sizes)) / max(1, len(sizes) - 1))
    largest = (available / profile).min()
    assert np.all(sizes <= np.maximum(1, largest * profile + 1e-6))
    assert np.all(sizes > largest * profile - 1 - 1e-6)


def test_long_tail_with_a_size() -> None:
    labels = balanced(100, 10)
    tail = draw_indices(labels, 10, imbalance=0.1)
    part = draw_indices(labels, 10, 200, imbalance=0.1)
    assert len(part) == 200
    assert set(part) <= set(tail)
    shares = np.bincount(labels[tail]) / len(tail) * 200
    assert np.abs(np.bincount(labels[part]) - shares).max() < 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"train_size": 0}, "--train-size 30 or less"),
        ({"train_size": 31}, "more than the 30"),
        ({"train_size": 25, "imbalance": 0.1}, "long tail"),
        ({"imbalance": 0.0}, "above 0"),
        ({"imbalance": 1.5}, "at most 1"),
        ({"imbalance": float("nan")}, "--imbalance 0.1"),
    ],
)
def test_impossible_draws(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        draw_indices(balanced(10, 3), 3, **arguments)  # type: ignore[arg-type]


def test_long_tail_needs_every_class() -> None:
    with pytest.raises(DataError, match="class 3"):
        draw_indices(balanced(10, 3), 4, imbalance=0.5)


@given(labels=label_lists, fraction=st.floats(0, 0.95), seed=st.integers(0, 9))
def test_hold_out_is_exact_and_stratified(labels: Labels, fraction: float, seed: int) -> None:
    wanted = int(np.floor(round(fraction * len(labels), 9) + 0.5))
    if wanted == len(labels):
        with pytest.raises(DataError, match="nothing to train on"):
            hold_out(labels, fraction, seed)
        return
    train, held = hold_out(labels, fraction, seed)
    assert len(held) == wanted
    assert sorted([*train, *held]) == list(range(len(labels)))
    assert np.all(np.diff(train) > 0) and np.all(np.diff(held) > 0)
    quotas = wanted * np.bincount(labels) / len(labels)
    assert np.abs(np.bincount(labels[held], minlength=len(quotas)) - quotas).max() < 1


def test_no_hold_out() -> None:
    train, held = hold_out(balanced(5, 2), 0.0, 0)
    assert train.tolist() == list(range(10))
    assert held.dtype == np.int64 and len(held) == 0


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan"), float("inf")])
def test_impossible_hold_outs(fraction: float) -> None:
    with pytest.raises(DataError, match="--hold-out"):
        hold_out(balanced(5, 2), fraction, 0)


def test_seeds_differ_and_repeat() -> None:
    labels = balanced(50, 10)
    draws = [digest(draw_indices(labels, 10, 100, 0.5, seed)) for seed in (0, 1, 2, 0)]
    holds = [digest(hold_out(labels, 0.1, seed)[1]) for seed in (0, 1, 2, 0)]
    assert len(set(draws)) == len(set(holds)) == 3
    assert draws[0] == draws[3] and holds[0] == holds[3]


def test_golden() -> None:
    """The same on every machine and with every NumPy."""
    labels = balanced(100, 10)
    assert digest(draw_indices(labels, 10, 200, 0.1, 3)) == "f22fc87ded56b331"
    assert digest(hold_out(labels, 0.1, 3)[1]) == "0d6a5c417276cef2"


def test_halves_go_up() -> None:
    assert half_up(np.array([0.5, 1.5, 2.5, 2.4999, 0.1 * 3 * 5])).tolist() == [1, 2, 3, 2, 2]


def test_largest_remainder_by_hand() -> None:
    quotas = np.array([[1.2, 2.5, 0.3, 1.0], [0.5, 0.5, 0.5, 0.5]])
    priority = np.array([[0.0, 0.0, 0.0, 0.0], [0.9, 0.1, 0.8, 0.2]])
    counts = largest_remainder(quotas, np.array([5, 2]), priority)
    assert counts.tolist() == [[1, 3, 0, 1], [0, 1, 0, 1]]


def test_ranks_by_hand() -> None:
    groups = np.array([2, 0, 2, 2, 0])
    assert ranks(groups, np.array([0.5, 0.9, 0.1, 0.5, 0.2])).tolist() == [1, 1, 0, 2, 0]
    assert ranks(np.zeros(0, dtype=np.int64), np.zeros(0)).tolist() == []
