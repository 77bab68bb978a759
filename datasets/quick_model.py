"""A classifier that needs seconds and NumPy alone: for a look at labels, never for a result.

Read `cross_fitted` first. It is softmax regression on principal components and random features of reduced images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.interface import Labels
from datasets.randomness import order, uniforms
from datasets.samples import Pixels

Numbers = NDArray[np.float64]
SIDE = 12
"""Images are reduced to at most so many boxes a side."""
COMPONENTS = 64
FEATURES = 384
FOLDS = 3
STEPS = 60
PENALTIES = (0.1, 0.02, 0.004, 0.0008)
"""Of these the one whose held-out predictions are the likeliest: noisy labels need more than clean ones."""
MOST_SAMPLES = 6000
"""Images that take part, drawn at random where there are more."""
READ_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """Probabilities (n, K) of the images `index` (n,), rising, each by a model that was fitted without this image.

    `agreement` is the share of images whose likeliest class is the given label.
    """

    index: NDArray[np.int64]
    probabilities: Numbers
    agreement: float
    total: int

    def describe(self) -> str:
        """How the probabilities were had, in a sentence."""
        return (
            f"softmax regression on {COMPONENTS} principal components and {FEATURES} random features of images of at "
            f"most {SIDE} x {SIDE} boxes, cross-fitted in {FOLDS} parts on {len(self.index):,} of {self.total:,} "
            f"images; it agrees with {self.agreement:.2f} of the labels that it wasn't fitted on"
        )


def cross_fitted(pixels: Pixels, labels: Labels, classes: int) -> CrossFitted:
    """Predict each image by a model of the others' labels (N,). The same for the same data; nothing is left to a seed.

    `pixels` are images (N, H, W, C), or vectors (N, V, D) of which the first view counts.
    """
    total = len(labels)
    index = np.sort(order(0, "quick model/samples", total)[:MOST_SAMPLES])
    features = expand(read_reduced(pixels, index))
    given, part = labels[index], order(0, "quick model/parts", len(index)) % FOLDS
    folds = [part == fold for fold in range(FOLDS)]
    best, probabilities = np.inf, np.full((len(index), classes), 1 / classes)
    weights = [np.zeros((features.shape[1], classes)) for _ in folds]
    for penalty in PENALTIES if len(index) >= FOLDS else ():
        weights = [
            fit_softmax(features[~held], given[~held], start, penalty)
            for held, start in zip(folds, weights, strict=True)
        ]
        predicted = np.empty_like(probabilities)
        for held, fitted in zip(folds, weights, strict=True):
            predicted[held] = softmax(features[held] @ fitted)
        loss = -float(np.log(predicted[np.arange(len(index)), given] + 1e-12).mean())
        if loss >= best:
            break
        best, probabilities = loss, predicted
    agreement = float((probabilities.argmax(axis=1) == given).mean()) if len(index) else 0.0
    return CrossFitted(index, probabilities, agreement, total)


def confused_pairs(found: CrossFitted, labels: Labels) -> list[tuple[int, int]]:
    """(class, the other class of the highest mean probability among its images) of each class with images, rising.

    `labels` (N,) are those that the model was fitted to. Of equal classes the first, to nine decimals.
    """
    given, classes = labels[found.index], found.probabilities.shape[1]
    sums = np.stack([np.bincount(given, column, classes) for column in found.probabilities.T], axis=1)
    np.fill_diagonal(sums, -1.0)
    present = np.unique(given)
    means = np.round(sums[present] / np.bincount(given, minlength=classes)[present, None], 9)
    return [(int(each), int(other)) for each, other in zip(present, means.argmax(axis=1), strict=True)]


def read_reduced(pixels: Pixels, index: NDArray[np.int64]) -> Numbers:
    """Samples (n, d) at `index`: means of images over at most SIDE x SIDE boxes, vectors' first views."""
    blocks = [index[start : start + READ_AT_ONCE] for start in range(0, len(index), READ_AT_ONCE)]
    return np.concatenate([reduce_images(np.asarray(pixels[block])) for block in blocks] or [np.zeros((0, 1))])


def reduce_images(images: NDArray[np.generic]) -> Numbers:
    """Images (n, H, W, C) as rows (n, d) of means over boxes; of vectors (n, V, D) the first view."""
    values = (images[:, 0] if images.ndim == 3 else images).astype(np.float64)
    for axis in (1, 2) if values.ndim == 4 else ():
        side = values.shape[axis]
        edges = np.arange(min(side, SIDE)) * side // min(side, SIDE)
        sizes = np.diff([*edges, side]).reshape((-1, 1, 1) if axis == 1 else (-1, 1))
        values = np.add.reduceat(values, edges, axis=axis) / sizes
    return values.reshape(len(values), -1)


def expand(rows: Numbers) -> Numbers:
    """Rows (n, d) as a constant, their principal components, and cosines of random directions of these (n, D).

    The cosines stand for a Gaussian kernel as wide as the components' spread (Rahimi and Recht, NIPS 2007).
    """
    centred = rows - rows.mean(axis=0) if len(rows) else rows
    values, vectors = np.linalg.eigh(centred.T @ centred / max(1, len(rows)))
    kept = np.argsort(-values, kind="stable")[: min(COMPONENTS, len(values))]
    components = centred @ vectors[:, kept]
    components /= np.sqrt(max(float(values[kept].sum()), 1e-12))
    dimensions = components.shape[1]
    drawn = uniforms(0, "quick model/directions", 2 * dimensions * FEATURES).reshape(2, dimensions, FEATURES)
    directions = np.sqrt(-2 * np.log1p(-drawn[0])) * np.cos(2 * np.pi * drawn[1])
    phases = 2 * np.pi * uniforms(0, "quick model/phases", FEATURES)
    cosines = np.sqrt(2 / FEATURES) * np.cos(components @ directions * np.sqrt(2) + phases)
    return np.concatenate([np.ones((len(rows), 1)), components, 4 * cosines], axis=1)


def fit_softmax(features: Numbers, labels: Labels, start: Numbers, penalty: float) -> Numbers:
    """Weights (D, K) of penalised softmax regression from `start`, by accelerated steps as long as curvature allows."""
    samples = len(features)
    target = np.zeros((samples, start.shape[1]))
    target[np.arange(samples), labels] = 1.0
    curvature = 0.5 * float(np.linalg.eigvalsh(features.T @ features / samples)[-1]) + penalty
    weights = ahead = start
    before = 1.0
    for _ in range(STEPS):
        slope = features.T @ (softmax(features @ ahead) - target) / samples + penalty * ahead
        stepped = ahead - slope / curvature
        momentum = (1 + np.sqrt(1 + 4 * before**2)) / 2
        ahead = stepped + (before - 1) / momentum * (stepped - weights)
        weights, before = stepped, momentum
    return weights


def softmax(scores: Numbers) -> Numbers:
    """Probabilities (n, K) of scores (n, K)."""
    powers: Numbers = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
