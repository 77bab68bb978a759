"""Transition matrices: pure functions. T[i, j] = P(noisy = j | clean = i), float64 (K, K), rows summing to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datasets.interface import DataError, Labels
from datasets.noise.interface import Flips, Matrix

TOLERANCE = 1e-6
"""How far from 1 the rows of a given matrix may sum: written with six decimals, they do."""
FEWEST_DECIMALS = 2
"""With fewer decimals a row that doesn't sum to 1 is more likely wrong than rounded."""

ROUNDING = 1e-12
"""Two probabilities this close are equal: 1 - 0.9 and 0.9 / 9."""


def identity(classes: int) -> Matrix:
    """No noise."""
    return np.eye(classes)


def symmetric(classes: int, rate: float) -> Matrix:
    """1 - rate on the diagonal, rate / (K - 1) elsewhere: the true class excluded. Needs two classes."""
    if classes < 2:
        raise DataError(f"Labels of {classes} class can't be wrong. Type --noise none.")
    return _mixed(np.full((classes, classes), 1 / (classes - 1)), rate)


def symmetric_inclusive(classes: int, rate: float) -> Matrix:
    """1 - rate + rate / K on the diagonal, rate / K elsewhere: drawn over all classes, the true one included."""
    matrix = np.full((classes, classes), rate / classes)
    np.fill_diagonal(matrix, 1 - rate * (classes - 1) / classes)
    return matrix


def flipped(classes: int, flips: Flips, rate: float) -> Matrix:
    """1 - rate and rate in the rows of `flips` (clean, noisy), the identity in all other rows.

    Raises DataError where a pair isn't one of two different classes, or a class is flipped twice.
    """
    left = [clean for clean, _ in flips]
    for clean, noisy in flips:
        if clean == noisy or not (0 <= clean < classes and 0 <= noisy < classes):
            raise DataError(f"The pair {clean} -> {noisy} isn't one of two different classes from 0 to {classes - 1}.")
        if left.count(clean) > 1:
            raise DataError(f"Class {clean} is flipped twice; a class has one pair at most.")
    matrix = np.eye(classes)
    for clean, noisy in flips:
        matrix[clean, clean] = 1 - rate
        matrix[clean, noisy] = rate
    return matrix


def rotation(groups: Sequence[int]) -> Flips:
    """Each class to the next one of its group by class id, the last to the first; a class alone in its group stays.

    `groups` gives each class's group. One group for all is the pair flip of Han et al. 2018.
    """
    members: dict[int, list[int]] = {}
    for each, group in enumerate(groups):
        members.setdefault(group, []).append(each)
    following = {
        each: ids[(place + 1) % len(ids)] for ids in members.values() if len(ids) > 1 for place, each in enumerate(ids)
    }
    return tuple(sorted(following.items()))


def validate(matrix: ArrayLike, classes: int, where: str = "The matrix") -> Matrix:
    """A matrix from outside as float64 (K, K), its rows divided by their sums; or the reason why it is none.

    Raises:
        DataError: not square, not of `classes` classes, NaN or infinite, negative, above 1, or rows that don't sum to 1
            within 1e-6, or within what rounding to the digits that it holds can leave.
    """
    values = np.asarray(matrix)
    if values.dtype.kind not in "fiu":
        raise DataError(f"{where} holds {values.dtype} values. A transition matrix holds probabilities: real numbers.")
    values = values.astype(np.float64)
    if values.ndim != 2:
        raise DataError(f"{where} has {values.ndim} axes. A transition matrix has two: clean class, noisy class.")
    rows, columns = values.shape
    if rows != columns:
        raise DataError(f"{where} is not square: {rows} rows, {columns} columns. It needs {classes} of each.")
    if rows != classes:
        raise DataError(f"{where} is of {rows} classes, but the data set has {classes}. It needs {classes} rows.")
    for wrong, reason in [
        (~np.isfinite(values), "not a finite number"),
        (values < 0, "negative"),
        (values > 1 + TOLERANCE, "above 1"),
    ]:
        if wrong.any():
            cells = [f"row {i}, column {j}: {values[i, j]:g}" for i, j in np.argwhere(wrong)[:11]]
            way_out = _way_out(values) if reason == "above 1" else ""
            raise DataError(
                f"{where} holds what is no probability ({reason}).{way_out}\n{_listed(cells, int(wrong.sum()))}"
            )
    sums = values.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > allowed_rounding(values) + ROUNDING)
    if len(off):
        hint = _way_out(values)
        if np.allclose(values.sum(axis=0), 1, rtol=0, atol=TOLERANCE):
            hint = " Its columns do: transpose it, rows are clean classes."
        lines = _listed([f"row {i} sums to {sums[i]:.7g}" for i in off[:11]], len(off))
        raise DataError(f"{where} has rows that don't sum to 1 (within {TOLERANCE:g}).{hint}\n{lines}")
    normalised: Matrix = values / sums[:, None]
    return normalised


def allowed_rounding(values: Matrix) -> NDArray[np.float64]:
    """How far from 1 each row (K,) of `values` (K, K) may sum: half a unit of the last decimal for each number in it.

    0.333, 0.333 and 0.333 sum to 0.999. The decimals are those that all numbers of the matrix can be written with.
    """
    for decimals in range(FEWEST_DECIMALS, 7):
        if np.allclose(np.round(values, decimals), values, rtol=0, atol=1e-7):
            allowed: NDArray[np.float64] = 0.5 * 10.0**-decimals * np.count_nonzero(values, axis=1)
            return np.maximum(TOLERANCE, allowed)
    return np.full(len(values), TOLERANCE)


def count_rescaled(values: Matrix) -> int:
    """The number of rows of `values` that don't sum to 1 as they stand."""
    return int((np.abs(values.sum(axis=1) - 1) > TOLERANCE + ROUNDING).sum())


def _way_out(values: Matrix) -> str:
    """How to make probabilities of numbers whose rows don't sum to 1."""
    sums = values.sum(axis=1)
    if np.abs(sums - 100).max() <= 100 * allowed_rounding(values / 100).max():
        return " Its rows sum to 100: they are percent. Divide every number by 100."
    return " If its numbers are counts or shares of a row, divide each row by its sum." if (sums > 0).all() else ""


def is_dominant(matrix: Matrix) -> bool:
    """Diagonally dominant as the label-noise literature says it: T_ii > max over j != i of T_ij in every row.

    Differences below 1e-12 are rounding, and equal is not larger.
    """
    others = matrix - np.diag(np.full(len(matrix), np.inf))
    return bool((np.diag(matrix) > others.max(axis=1, initial=0.0) + ROUNDING).all())


def is_singular(matrix: Matrix) -> bool:
    """Whether the matrix has no inverse (smallest singular value below 1e-9), so that T can't be undone."""
    return bool(np.linalg.svd(matrix, compute_uv=False).min() < 1e-9)


def realised(clean: Labels, noisy: Labels, classes: int) -> Matrix:
    """How often noisy class j was given to clean class i, rows summing to 1; a class without images stays as it is."""
    counts = np.bincount(clean * classes + noisy, minlength=classes * classes).reshape(classes, classes)
    sums = counts.sum(axis=1, keepdims=True)
    return np.where(sums > 0, counts / np.maximum(sums, 1), np.eye(classes))


def _mixed(off_diagonal: Matrix, rate: float) -> Matrix:
    matrix = rate * off_diagonal
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def _listed(first: list[str], total: int) -> str:
    lines = [f"  {each}" for each in first[:10]]
    if total > 10:
        lines.append(f"  ... and {total - 10} more")
    return "\n".join(lines)
