"""Answers of simulated annotators, after what was measured of the people who labelled CIFAR-10N. NumPy only.

The figures are of its three random labels (Wei et al. 2022, arXiv 2110.12088): people differ in accuracy, and some
images are hard for everybody. Without the second, three answers are all right too rarely: 0.558 instead of 0.598.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets.interface import Labels
from datasets.noise.aggregation import Answers, Numbers
from datasets.randomness import order, uniforms

ACCURACIES = ((0.0, 0.757), (0.05, 0.767), (0.25, 0.808), (0.5, 0.823), (0.75, 0.840), (0.95, 0.880), (1.0, 0.890))
"""Quantiles of accuracy among people with 50 labels or more: measured but for the ends. ASSUMPTION: the ends go on from
the nearest two."""
BATCH = 10
"""Images that are answered by the same people."""
EASE, SPREAD = 1.45, 9.9
"""The shape of difficulty, a distribution of Kumaraswamy: with it 0, 1, 2 and 3 of three answers are wrong in 0.598,
0.292, 0.092 and 0.017 of the images, where people were in 0.598, 0.296, 0.085 and 0.021."""
MEAN_DIFFICULTY = 0.1763
"""Its mean, which is the mean share of wrong answers that it was fitted with."""
CLASS_FACTORS = (0.5, 1.5)
"""ASSUMPTION: errors in a class are between half and one and a half times the mean, for everybody alike."""
SHARED = 0.5
"""ASSUMPTION: of what a class is confused with, this share is everybody's and the rest an annotator's own."""


def accuracies(annotators: int, seed: int) -> Numbers:
    """The accuracy (annotators,) of each: one from each equal part of the distribution, so that means hold for few."""
    where = (np.arange(annotators) + uniforms(seed, "annotators/accuracy", annotators)) / annotators
    shares, values = zip(*ACCURACIES, strict=True)
    drawn: Numbers = np.interp(where, shares, values)
    return drawn[order(seed, "annotators/people", annotators)]


def confusions(annotators: int, classes: int, seed: int) -> Numbers:
    """P(wrong answer | true class, annotator, wrong): (annotators, K, K), rows sum to 1, the diagonal is 0."""
    common = _weights(uniforms(seed, "annotators/common confusions", classes * classes), (1, classes))
    own = _weights(uniforms(seed, "annotators/own confusions", annotators * classes * classes), (annotators, classes))
    return SHARED * common + (1 - SHARED) * own


def class_factors(clean: Labels, classes: int, seed: int) -> Numbers:
    """How much harder than the mean each class (K,) is for everybody; the mean over the images is 1."""
    low, high = CLASS_FACTORS
    factors = low + (high - low) * uniforms(seed, "annotators/classes", classes)
    return factors / (factors[clean].mean() if len(clean) else 1.0)


def difficulties(samples: int, seed: int) -> Numbers:
    """How much harder than the mean each image (N,) is for everybody; the expected mean is 1."""
    drawn = uniforms(seed, "annotators/images", samples)
    hard: NDArray[np.float64] = (1 - (1 - drawn) ** (1 / SPREAD)) ** (1 / EASE)
    return hard / MEAN_DIFFICULTY


def simulate_answers(clean: Labels, classes: int, annotators: int, each: int, seed: int) -> Answers:
    """`each` answers to every image of clean labels (N,), by different ones of `annotators` people.

    An annotator is wrong with (1 - accuracy) x the factor of the class x the difficulty of the image, at most 1.
    Batches of ten images, in random order, are answered by the same people, everybody as likely.
    """
    samples = len(clean)
    batches = -(-samples // BATCH)
    people = uniforms(seed, "annotators/batches", batches * annotators).reshape(batches, annotators)
    chosen = np.sort(np.argsort(people, axis=1, kind="stable")[:, :each], axis=1)
    batch = np.empty(samples, dtype=np.int64)
    batch[order(seed, "annotators/order", samples)] = np.arange(samples) // BATCH
    annotator = chosen[batch].ravel().astype(np.int64)
    image = np.repeat(np.arange(samples, dtype=np.int64), each)

    hard = class_factors(clean, classes, seed)[clean] * difficulties(samples, seed)
    wrong = (1 - accuracies(annotators, seed))[annotator] * hard[image]
    label = clean[image].astype(np.int64)
    failed = np.flatnonzero(uniforms(seed, "annotators/answers", len(image)) < wrong)
    cumulated = np.cumsum(confusions(annotators, classes, seed), axis=2)
    drawn = uniforms(seed, "annotators/mistakes", len(image))[failed]
    rows = cumulated[annotator[failed], label[failed]]
    label[failed] = (rows < drawn[:, None] * rows[:, -1:]).sum(axis=1)
    return Answers(image, annotator, label, samples, annotators)


def _weights(drawn: Numbers, shape: tuple[int, int]) -> Numbers:
    """Random rows that sum to 1 with nothing on the diagonal, (*shape, K): evenly from all such rows."""
    classes = shape[1]
    weights = -np.log1p(-drawn).reshape(*shape, classes)
    weights[:, np.arange(classes), np.arange(classes)] = 0.0
    sums = weights.sum(axis=2, keepdims=True)
    shares: Numbers = weights / np.where(sums > 0, sums, 1.0)
    return shares
