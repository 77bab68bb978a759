"""Principal components of features: fitted without labels, block by block, the same everywhere but for rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.features.block_files import Array

ROWS = 4096
"""Samples that are multiplied at a time."""


@dataclass(frozen=True)
class Components:
    """A projection to the principal components: (x - mean) @ directions, float32 (D,) and (D, n)."""

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    def project(self, features: Array) -> Array:
        """Features float16 (n, V, D) -> components float16 (n, V, components)."""
        centred = features.astype(np.float32) - self.mean
        return (centred @ self.directions).astype(np.float16)


def fit_components(features: Array, index: NDArray[np.int64], count: int) -> Components:
    """The `count` principal components of the plain views of the samples `index`, of features (N, V, D).

    Products are float32, and their sums over blocks float64. Of a direction's two signs the one is taken whose
    coefficient of largest size (the first of several) is positive.
    """
    plain, length = features[:, 0], features.shape[2]
    total, products = np.zeros(length), np.zeros((length, length))
    starts = range(0, len(index), ROWS)
    for start in starts:
        total += plain[index[start : start + ROWS]].astype(np.float32).sum(axis=0, dtype=np.float64)
    mean = (total / len(index)).astype(np.float32)
    for start in starts:
        centred = plain[index[start : start + ROWS]].astype(np.float32) - mean
        products += centred.T @ centred
    _, vectors = np.linalg.eigh(products)
    directions = vectors[:, ::-1][:, :count]
    largest = np.argmax(np.abs(directions), axis=0)
    directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    return Components(mean, np.ascontiguousarray(directions, dtype=np.float32))
