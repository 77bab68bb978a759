"""Noise whose wrong labels depend on the image: what the two instance-dependent noises have in common.

Read `ByImage.assign` first. An image's wrong label is drawn from a softmax over random linear scores of its pixels;
whether it gets one doesn't depend on the pixels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.calls import written_call
from datasets.files import in_order
from datasets.images import DECODER
from datasets.interface import DataError, Labels
from datasets.noise.drawing import choose_wrong
from datasets.noise.flip_rates import flip_rate_quantiles
from datasets.noise.interface import DrawnImages, ImageSource, Noise, NoiseFacts
from datasets.noise.label_cache import remembered_labels
from datasets.randomness import normals, uniforms

VERSION = 1
"""Raised whenever the same question would give other labels: kept ones are then drawn again."""
SIDE = 32
"""Larger images are scored at so many boxes a side."""
FRACTION = 1024.0
"""Values are rounded to multiples of 1 / FRACTION, so that sums of products are exact in any order."""
LARGEST = 64.0
"""Standardised values beyond it, either way, are taken as it."""
VALUES_AT_ONCE = 1 << 18

Values = NDArray[Any]


class ByImage(Noise):
    """Each image's wrong label by random linear scores of its pixels; a subclass says which classes share weights.

    Every number up to the softmax is exact: values are rounded to multiples of 1/1024, weights to 2^-14, and float64
    holds the sum of their products without rounding (for standardised samples of up to 131,072 values; bytes always).
    So scores are the same on every machine, whatever the order of a matrix product. Only the last bit of an exponential
    may differ, which changes a label about once in 10^13 draws.
    """

    parameters: ClassVar[Mapping[str, float | int | str]] = {"scale": "standardised"}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"scale": ("standardised", "soft", "raw")}
    reads_pixels = True
    shared: ClassVar[bool]
    """Whether all classes have the same weights."""

    def matrix(self, facts: NoiseFacts, rate: float | None) -> None:
        self.checked_rate(rate)
        if len(facts.classes) < 2:
            raise DataError(f"Noise {self.name!r} needs at least two classes. Type --noise none.")

    def wrong_shares(self, facts: NoiseFacts, rate: float | None) -> NDArray[np.float64]:
        self.matrix(facts, rate)
        return np.full(len(facts.classes), self.checked_rate(rate))

    def origin(self, facts: NoiseFacts) -> str:
        return self.source if self.values["scale"] == "raw" else f"{self.source}, but of a standardised input"

    def convention(self, facts: NoiseFacts) -> str:
        height, width = (facts.image_shape or (0, 0))[:2]
        what = "numbers" if (height, width) == (1, 1) else "pixels"
        how = {"soft": f"{what} standardised, scores / sqrt(d)", "raw": f"raw {what}"}
        said = how.get(self.values["scale"], f"{what} standardised")
        if max(height, width) > SIDE:
            said += f", scored at {min(height, SIDE)} x {min(width, SIDE)}"
        return f"by image ({said})"

    def assign(self, images: DrawnImages) -> Labels:
        """Labels of which a share that is the rate is wrong, nested in the rate.

        "exact": in each class the share is the rate, up to the rounding of `choose_wrong`, and the wrong images are
        those of every other noise at this seed. "multinomial": each image has a flip rate of its own, drawn from
        `flip_rate_quantiles`, and is wrong with this probability. Since flip rates don't depend on images, both choose
        the wrong ones as if at random, and differ in their number alone.
        """
        rate, clean, seed = self.checked_rate(images.rate), images.clean, images.seed
        if images.draw == "exact":
            wrong = choose_wrong(clean, self.wrong_shares(images.facts, rate), seed)[1]
        elif not rate:
            wrong = np.arange(0)
        else:
            # a flip rate is above a first random number where its quantile, a second one, is above that of the first
            share_below = flip_rate_quantiles(rate, uniforms(seed, "noise/images", len(clean)))
            wrong = np.flatnonzero(uniforms(seed, "noise/flip-rates", len(clean)) >= share_below)
        labels = clean.astype(np.int64)
        if len(wrong):
            labels[wrong] = self.targets(images)[wrong]
        return labels

    def targets(self, images: DrawnImages) -> Labels:
        """The wrong label (N,) that each image has if it has one: kept in the cache, since no rate changes it."""
        source = images.source
        if source is None or source.pixels is None:
            raise DataError(f"Noise {self.name!r} reads the images, and there are none here.")
        question = {
            "noise": [written_call(self.name, self.values, self.parameters), VERSION],
            "seed": images.seed,
            "classes": len(images.facts.classes),
            "data": [DECODER, source.data_sha256, source.split, list(source.pixels.shape)],
            "scaling": [list(source.mean), list(source.std)],
            "drawn": [hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest() for ids in (source.index, images.clean)],
        }
        return remembered_labels(source.cache, question, len(images.clean), lambda: self._draw_targets(images))

    def _draw_targets(self, images: DrawnImages) -> Labels:
        """One pass over the images, class by class, so that the weights of one class at a time take memory."""
        clean, classes, source = images.clean, len(images.facts.classes), images.source
        assert source is not None and source.pixels is not None
        height, width, channels = source.pixels.shape[1:]
        values = min(height, SIDE) * min(width, SIDE) * channels
        scale = 1 / math.sqrt(values) if self.values["scale"] == "soft" else 1.0
        drawn = uniforms(images.seed, "noise/targets", len(clean))
        targets = np.zeros(len(clean), dtype=np.int64)
        alike = [np.arange(len(clean))] if self.shared else [np.flatnonzero(clean == each) for each in range(classes)]
        for number, places in enumerate(alike):
            if not len(places):
                continue
            purpose = f"noise/{self.name}/weights" + ("" if self.shared else f"/{number}")
            weights = normals(images.seed, purpose, values * classes).reshape(values, classes)
            for rows, block in read_values(source, places, self.values["scale"] == "raw"):
                targets[rows] = draw_targets(scale / FRACTION * (block @ weights), clean[rows], drawn[rows])
        return targets


def read_values(
    source: ImageSource, places: NDArray[np.int64], raw: bool
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """(positions (b,), values (b, d)) of the images at `places`, block by block; files are decoded by several threads.

    Values are standardised per channel, or with `raw` as they are, in units of 1 / FRACTION and whole.
    """
    images = source.pixels
    assert images is not None
    height, width, channels = images.shape[1:]
    unit = 255.0 if images[places[:0]].dtype == np.uint8 else 1.0
    std = np.asarray(source.std or (1.0,))
    scale, shift = 1 / (np.where(std > 0, std, 1.0) * unit), np.asarray(source.mean or (0.0,)) * unit
    if raw:
        scale, shift = np.ones(1), np.zeros(1)
    # as long as an image, since broadcasting over a few channels takes thrice as long
    pixels = min(height, SIDE) * min(width, SIDE)
    scale, shift = (np.tile(np.broadcast_to(each, channels), pixels) for each in (scale, shift))
    step = max(1, VALUES_AT_ONCE // max(1, height * width * channels))
    blocks = [places[start : start + step] for start in range(0, len(places), step)]

    def read(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        values = box_means(images[rows]).reshape(len(rows), -1)
        values -= shift
        values *= scale
        if not raw:
            np.clip(values, -LARGEST, LARGEST, out=values)
        values *= FRACTION
        return np.rint(values, out=values)

    return zip(blocks, in_order(read, blocks), strict=True)


def box_means(pixels: Values) -> NDArray[np.float64]:
    """Images (n, H, W, C) with sides of more than 32 brought to 32: means over boxes of whole pixels."""
    values = pixels
    number = 1.0
    for axis in (1, 2):
        side = pixels.shape[axis]
        if side > SIDE:
            edges = np.arange(SIDE + 1) * side // SIDE
            # whole numbers for bytes, so that no order of a sum matters
            kind = np.uint32 if pixels.dtype == np.uint8 else np.float64
            values = np.add.reduceat(values, edges[:-1], axis=axis, dtype=kind)
            number = number * np.diff(edges).reshape((-1, 1, 1) if axis == 1 else (-1, 1)).astype(np.float64)
    result = values.astype(np.float64)
    result /= number
    return result


def draw_targets(scores: NDArray[np.float64], true: Labels, drawn: NDArray[np.float64]) -> Labels:
    """A class (n,) for each row of `scores` (n, K), by their softmax without the `true` class (n,).

    `drawn` (n,) are random numbers in [0, 1). Changes `scores`.
    """
    rows = np.arange(len(scores))
    scores[rows, true] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    cumulated = np.cumsum(np.exp(scores, out=scores), axis=1)
    target = (cumulated <= drawn[:, None] * cumulated[:, -1:]).sum(axis=1)
    # never beyond the last class, nor on the true one, whatever rounding does
    last = scores.shape[1] - 1
    return np.asarray(np.minimum(target, np.where(true == last, last - 1, last)))
