"""Noise that grows where a network can't decide between two classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise.interface import DrawnImages, NoiseFacts
from datasets.noise.posterior import FromPosterior
from datasets.randomness import uniforms
from datasets.rounding import half_up

FACTORS = {0.35: {1: 1.43, 2: 1.32, 3: 1.35}, 0.7: {1: 3.4, 2: 3.1, 3: 3.2}}
"""By rate and type, what the released code divides the probability of the network's first class by."""


class MarginDiminishing(FromPosterior):
    """Labels swap between a network's two most probable classes u and s, the more the smaller its margin D = p_u - p_s.

    Zhang et al. 2021 (PLC, polynomial margin diminishing noise): of type 1, f = (1 - D^2) / 2; of type 2, f = 1 - D^3;
    of type 3, f = 1 - (D + D^2 + D^3) / 3. All are 0 at a margin of 1.

    Here an image whose clean label is u or s gets the other one with probability min(1, c f), and any other image keeps
    its label; c is solved so that these probabilities have the rate as their mean over all images. "exact" instead
    makes the nearest whole number of images wrong, those with the smallest u / f where u is a random number of the
    image: nearly the same probabilities (Ohlsson's sequential Poisson sampling, 1998). Both nest in the rate. A rate
    above the share of images that can swap is refused.

    `[form=as-published]` is what the released code draws, at 0.35 and 0.7 alone: label u with probability t / factor
    and else s, where t = max(1 - f, 1/2) of type 1 and 1 - f of the others. It never looks at the clean label, so that
    whatever the network got wrong is noise too; and at a margin of 1 still 1 - 1 / factor of the labels are s: 0.30
    at the rate 0.35, 0.71 at 0.7. So its realised rate is what it comes to.
    """

    name = "pmd"
    summary = "labels swapped between a network's two most probable classes, the more the closer these are"
    source = "Zhang et al. 2021 (PLC, arXiv 2103.07756)"
    parameters: ClassVar[Mapping[str, float | int | str]] = {"type": 1, "form": "clean"}
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {"type": (1, 2, 3), "form": ("clean", "as-published")}

    @property
    def is_published(self) -> bool:
        """Whether this is the released code's form."""
        return bool(self.values["form"] == "as-published")

    def matrix(self, facts: NoiseFacts, rate: float | None) -> None:
        super().matrix(facts, rate)
        if self.is_published and rate not in FACTORS:
            raise DataError(
                "Noise 'pmd[form=as-published]' is published at two rates only. Type --rate 0.35 or --rate 0.7, or "
                "leave form=as-published out."
            )

    def convention(self, facts: NoiseFacts) -> str:
        form = ", as published" if self.is_published else ""
        return f"by image (a network's two most probable classes, type {self.values['type']}{form})"

    def check(self, images: DrawnImages) -> None:
        super().check(images)
        if self.is_published:
            if images.draw == "exact":
                raise DataError(
                    "Noise 'pmd[form=as-published]' draws every label independently. Add --draw multinomial, or leave "
                    "form=as-published out."
                )
            return
        rate, samples = self.checked_rate(images.rate), len(images.clean)
        able = int((self._swap(images)[1] > 0).sum())
        if rate * samples > able + 0.5:
            raise DataError(
                f"Noise 'pmd' can't reach a rate of {rate:g} by {self.path}: of {samples} images, {able} have their "
                "label among the network's two most probable classes and a margin below 1. Type --rate "
                f"{np.floor(100 * able / samples) / 100:g} or less."
            )

    def assign(self, images: DrawnImages) -> Labels:
        self.check(images)
        rate, samples = self.checked_rate(images.rate), len(images.clean)
        drawn = uniforms(images.seed, "noise/images", samples)
        if self.is_published:
            first, second, fall = self._top_two(images)
            keep = np.maximum(1 - fall, 0.5) if self.values["type"] == 1 else 1 - fall
            return np.where(drawn < keep / FACTORS[rate][self.values["type"]], first, second)
        other, fall = self._swap(images)
        with np.errstate(divide="ignore", invalid="ignore"):
            claims = np.where(fall > 0, drawn / fall, np.inf)
        if images.draw == "exact":
            number = min(int(half_up(np.array([rate * samples]))[0]), int((fall > 0).sum()))
            flipped = np.argsort(claims, kind="stable")[:number]
        else:
            flipped = np.flatnonzero(claims < solve_scale(fall, rate * samples))
        labels = images.clean.astype(np.int64)
        labels[flipped] = other[flipped]
        return labels

    def _swap(self, images: DrawnImages) -> tuple[Labels, NDArray[np.float64]]:
        """The label (n,) that each image may get, and f (n,), 0 where its own is neither of the two classes."""
        first, second, fall = self._top_two(images)
        clean = images.clean
        able = (clean == first) | (clean == second)
        return np.where(clean == first, second, first), np.where(able, fall, 0.0)

    def _top_two(self, images: DrawnImages) -> tuple[Labels, Labels, NDArray[np.float64]]:
        """The two most probable classes (n,) of each image, ties to the lower, and f (n,) of their margin."""
        scores, rows = self.drawn_scores(images), np.arange(len(images.clean))
        first = scores.argmax(axis=1)
        largest = scores[rows, first]
        scores[rows, first] = -np.inf
        second = scores.argmax(axis=1)
        margin = np.clip(largest - scores[rows, second], 0.0, 1.0)
        square = margin * margin
        cube = square * margin
        fall = {1: (1 - square) / 2, 2: 1 - cube, 3: 1 - (margin + square + cube) / 3}[self.values["type"]]
        return first, second, fall


def solve_scale(fall: NDArray[np.float64], wanted: float) -> float:
    """The c at which min(1, c * fall) adds up to `wanted`, which is at most the number of entries above 0."""
    falling = np.sort(fall[fall > 0])[::-1]
    if not len(falling) or wanted >= len(falling):
        return float("inf") if len(falling) else 0.0
    rest = np.cumsum(falling[::-1])[::-1]
    certain = np.arange(len(falling))
    scales = (wanted - certain) / rest
    # the first number of images that are certain to swap with which the next one isn't
    return float(max(0.0, scales[np.flatnonzero(scales * falling <= 1)[0]]))
