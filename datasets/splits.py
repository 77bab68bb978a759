"""Training and test parts of data that came without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets.interface import Labels
from datasets.randomness import uniforms
from datasets.rounding import largest_remainder, ranks

TEST_SHARE = 0.2
"""What is set aside for testing where the data names no test part."""


def stratified(labels: Labels, classes: int, test_size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split 0..N-1 into training and test indices, both rising, in which every class has its share.

    Each class gives `test_size` * n_c / N images to the test part, rounded by largest remainder, ties to the lower
    class: how many doesn't depend on the seed, which ones does. A class keeps at least one training image, so the test
    part is smaller than asked where a class has only one.
    """
    sizes = np.bincount(labels, minlength=classes)
    quotas = test_size * sizes / max(1, len(labels))
    ties = np.arange(classes, dtype=np.float64)
    shares = largest_remainder(quotas[None], np.array([test_size]), ties[None])[0]
    shares = np.minimum(shares, np.maximum(sizes - 1, 0))
    test = ranks(labels, uniforms(seed, "split/images", len(labels))) < shares[labels]
    return np.flatnonzero(~test), np.flatnonzero(test)


def split_name(seeded: bool, seed: int) -> str | None:
    """What label files call the training part that a split seed draws; None where the data set has one split only."""
    return f"seed {seed}" if seeded else None
