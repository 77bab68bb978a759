"""Wrong labels in proportion to the sizes of classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.noise import NoiseFacts, corrupt
from datasets.noise.matrices import realised
from datasets.noise.sym import Symmetric
from datasets.noise.sym_prior import SymmetricPrior


def facts(classes: int) -> NoiseFacts:
    return NoiseFacts(classes=tuple(map(str, range(classes))))


@given(st.lists(st.integers(0, 300), min_size=2, max_size=12), st.floats(0, 1), st.integers(0, 3))
def test_counts_follow_the_sizes(sizes: list[int], rate: float, seed: int) -> None:
    clean = np.repeat(np.arange(len(sizes)), sizes)
    noisy = corrupt(SymmetricPrior(), clean, facts(len(sizes)), rate, seed)
    assert noisy.matrix is not None
    for row, size in enumerate(sizes):
        others = sum(sizes) - size
        for column, other in enumerate(sizes):
            if column != row and others:
                assert noisy.matrix[row, column] == pytest.approx(rate * other / others)
    pairs = np.bincount(clean * len(sizes) + noisy.labels, minlength=len(sizes) ** 2).reshape(len(sizes), -1)
    assert np.abs(pairs - np.array(sizes)[:, None] * noisy.matrix).max() < 2


def test_equal_classes_get_the_labels_of_symmetric_noise() -> None:
    clean = np.arange(600) % 6
    for draw in ("exact", "multinomial"):
        both = [corrupt(each, clean, facts(6), 0.35, 2, draw).sha256 for each in (SymmetricPrior(), Symmetric())]
        assert both[0] == both[1]


def test_a_long_tail_stays_one_but_is_less_skewed() -> None:
    sizes = np.array([2000, 1200, 700, 400, 240, 140, 80, 50, 30, 20])
    clean = np.repeat(np.arange(10), sizes)
    noisy = corrupt(SymmetricPrior(), clean, facts(10), 0.4, 0)
    counts = np.bincount(noisy.labels, minlength=10)
    assert 100 > counts.max() / counts.min() > 20
    assert "largest class 100 times the smallest by clean labels and" in noisy.caption
    assert f"{counts.max() / counts.min():.3g} times by noisy ones" in noisy.caption
    evenly = np.bincount(corrupt(Symmetric(), clean, facts(10), 0.4, 0).labels, minlength=10)
    assert evenly.max() / evenly.min() < 10
    assert noisy.matrix is not None and np.abs(realised(clean, noisy.labels, 10) - noisy.matrix).max() < 0.06
