"""Random numbers that stay the same on every machine and with every NumPy.

NumPy promises the raw bits of its bit generators, but no stream of `Generator`'s methods. So only raw bits of the
counter-based Philox are used here, keyed by a hash of what they are for, and turned into floats by hand.
"""

from __future__ import annotations

import functools
import hashlib
import operator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, purpose: str, n: int) -> NDArray[np.float64]:
    """`n` numbers in [0, 1), multiples of 2^-53: a function of the three arguments and nothing else.

    Streams of different seeds or purposes are independent; a shorter draw is the beginning of a longer one.
    """
    return (_bits(seed, purpose, n) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(seed: int, purpose: str, n: int) -> NDArray[np.float64]:
    """`n` standard normal numbers, each one of `normal_quantiles`: a function of the three arguments and nothing else.

    They are multiples of 2^-14 below 4.4 in size, so that sums of their products with small whole numbers are exact in
    float64, in whatever order a matrix product adds them up.
    """
    places = _bits(seed, purpose, -(-n // 4)).astype("<u8").view("<u2")[:n]
    return np.asarray(normal_quantiles()[places])


@functools.cache
def normal_quantiles() -> NDArray[np.float64]:
    """65,536 equally likely values of a standard normal, rising: its quantiles in the middle of as many equal shares.

    Rounded to multiples of 2^-14. No quantile lies within 10^-10 of the middle between two of these, so that the last
    bit of a machine's logarithm decides nothing.
    """
    quantile = NormalDist().inv_cdf
    upper = np.array([quantile(0.5 + (number + 0.5) / 65536) for number in range(32768)])
    rounded = np.rint(upper * 2.0**14) * 2.0**-14
    return np.concatenate([-rounded[::-1], rounded])


def _bits(seed: int, purpose: str, n: int) -> NDArray[np.uint64]:
    """`n` raw numbers of a Philox keyed by seed and purpose."""
    key = hashlib.sha256(f"{operator.index(seed)}/{purpose}".encode()).digest()[:16]
    return np.random.Philox(key=int.from_bytes(key, "little")).random_raw(n)


def order(seed: int, purpose: str, n: int) -> NDArray[np.int64]:
    """A random permutation of 0..n-1: the stable argsort of `uniforms`."""
    return np.argsort(uniforms(seed, purpose, n), kind="stable").astype(np.int64)
