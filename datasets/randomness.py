"""Random numbers that stay the same on every machine and with every NumPy.

NumPy promises the raw bits of its bit generators, but no stream of `Generator`'s methods. So only raw bits of the
counter-based Philox are used here, keyed by a hash of what they are for, and turned into floats by hand.
"""

from __future__ import annotations

import hashlib
import operator

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, purpose: str, n: int) -> NDArray[np.float64]:
    """`n` numbers in [0, 1), multiples of 2^-53: a function of the three arguments and nothing else.

    Streams of different seeds or purposes are independent; a shorter draw is the beginning of a longer one.
    """
    key = hashlib.sha256(f"{operator.index(seed)}/{purpose}".encode()).digest()[:16]
    bits = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(n)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(seed: int, purpose: str, n: int) -> NDArray[np.int64]:
    """A random permutation of 0..n-1: the stable argsort of `uniforms`."""
    return np.argsort(uniforms(seed, purpose, n), kind="stable").astype(np.int64)
