"""Each image's own probability of a wrong label: a normal around a location, truncated to [0, 1], with a given mean."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

WIDTH = 0.1
"""Standard deviation of the normal before it is truncated (Xia et al. 2020)."""
POINTS = 4097
STEPS = 90


def flip_rate_quantiles(rate: float, flip_rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of images whose flip rate is at most each of `flip_rates`, where the mean over all images is `rate`.

    The law is a normal of standard deviation 0.1, truncated to [0, 1]. Its location is solved so that its mean is the
    rate: with the location at the rate itself, as published, 0.1 would be 0.129. A rate of 0 or 1 is that of every
    image. At no flip rate does the share rise with the rate.
    """
    if rate in (0, 1):
        return (flip_rates >= rate).astype(np.float64)
    return np.asarray(np.interp(flip_rates, _grid(), _shares(solve_location(rate))))


@functools.lru_cache(maxsize=64)
def solve_location(rate: float) -> float:
    """The location whose truncated normal has the mean `rate`, from 0 to 1 without the ends; found by bisection."""
    low, high = -1e6, 1e6
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean(middle) < rate else (low, middle)
    return (low + high) / 2


@functools.cache
def _grid() -> NDArray[np.float64]:
    """Points from 0 to 1, close together at the ends, where low and high rates have all their mass."""
    even = np.linspace(0.0, 1.0, POINTS)
    return even * even * (3 - 2 * even)


def _shares(location: float) -> NDArray[np.float64]:
    """The distribution function at the points of the grid, linear between them."""
    points = _grid()
    exponent = (location - points / 2) * points / WIDTH**2
    density = np.exp(exponent - exponent.max())
    masses = np.diff(points) * (density[:-1] + density[1:])
    cumulated = np.concatenate([[0.0], np.cumsum(masses)])
    return np.asarray(cumulated / cumulated[-1])


def _mean(location: float) -> float:
    shares = _shares(location)
    return float(np.sum(np.diff(_grid()) * (1 - (shares[:-1] + shares[1:]) / 2)))
