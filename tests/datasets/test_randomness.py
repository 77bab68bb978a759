"""The streams are functions of (seed, purpose, n), the same with every NumPy."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.randomness import order, uniforms

GOLDEN = "21571fae03d080381e7b71cb6d824a7b88730efbaeedcd1773cc57f730846bdf"


def test_golden_stream() -> None:
    stream = np.concatenate([uniforms(0, "noise", 1000), uniforms(7, "split", 10)])
    assert hashlib.sha256(stream.astype("<f8").tobytes()).hexdigest() == GOLDEN


def test_first_numbers_by_hand() -> None:
    """Spelt out, so that the recipe can be followed in another language."""
    key = int.from_bytes(hashlib.sha256(b"3/noise").digest()[:16], "little")
    raw = np.random.Philox(key=key).random_raw(4)
    assert uniforms(3, "noise", 4).tolist() == [(int(bits) >> 11) / 2**53 for bits in raw]


@given(seed=st.integers(0, 2**64), purpose=st.text(max_size=8), n=st.integers(0, 50), shorter=st.integers(0, 50))
def test_range_and_prefix(seed: int, purpose: str, n: int, shorter: int) -> None:
    drawn = uniforms(seed, purpose, n)
    assert drawn.shape == (n,)
    assert drawn.dtype == np.float64
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert np.array_equal(uniforms(seed, purpose, min(n, shorter)), drawn[:shorter])


def test_calls_leave_no_trace() -> None:
    first = uniforms(1, "a", 5)
    uniforms(1, "b", 99)
    np.random.Philox(0).random_raw(3)
    assert np.array_equal(uniforms(1, "a", 5), first)


def test_seed_and_purpose_both_matter() -> None:
    streams = [uniforms(seed, purpose, 8) for seed in (0, 1, 10) for purpose in ("a", "b", "0/a")]
    for one in range(len(streams)):
        for other in range(one):
            assert not np.array_equal(streams[one], streams[other])


def test_flat() -> None:
    counts = np.bincount((uniforms(0, "flat", 100_000) * 10).astype(int), minlength=10)
    chi_square = float((((counts - 10_000) ** 2) / 10_000).sum())
    assert chi_square < 27.88  # 0.1 % point with 9 degrees of freedom


@given(n=st.integers(0, 40), seed=st.integers(0, 100))
def test_order_is_a_permutation(n: int, seed: int) -> None:
    permutation = order(seed, "order", n)
    assert permutation.dtype == np.int64
    assert sorted(permutation.tolist()) == list(range(n))


def test_numpy_integers_are_seeds_and_fractions_are_not() -> None:
    assert np.array_equal(uniforms(np.int64(4), "a", 3), uniforms(4, "a", 3))
    with pytest.raises(TypeError):
        uniforms(0.5, "a", 3)  # type: ignore[arg-type]
