"""Which training images take part: a smaller set, a long tail, and the part that is held out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.randomness import uniforms
from datasets.rounding import DECIMALS, half_up, largest_remainder, ranks

Index = NDArray[np.int64]


def draw_indices(
    labels: Labels,
    classes: int,
    train_size: int | None = None,
    imbalance: float | None = None,
    seed: int = 0,
    eligible: Index | None = None,
) -> Index:
    """Indices, rising, of the training images that take part: all of them unless a size or a long tail is asked for.

    The long tail comes first (see `long_tail`); `train_size` then takes a stratified part of what is left. Both are
    nested: the images of a smaller size are among those of a larger one with the same seed. Every class that has images
    keeps at least one as long as `train_size` allows.

    Args:
        labels: clean labels (N,), 0..classes-1.
        imbalance: smallest class size divided by the largest, in (0, 1]; None leaves the classes as they are.
        eligible: positions, rising, of the images that may take part; None: all.

    Raises:
        DataError: the size or the imbalance is impossible for these labels.
    """
    if eligible is not None:
        return eligible[draw_indices(labels[eligible], classes, train_size, imbalance, seed)]
    available = np.bincount(labels, minlength=classes)
    sizes = available if imbalance is None else long_tail(available, imbalance)
    total = int(sizes.sum())
    wanted = total if train_size is None else train_size
    if wanted < 1:
        raise DataError(f"A training size of {wanted} leaves nothing to train on. Type --train-size {total} or less.")
    if wanted > total:
        among = "" if imbalance is None else f" of a long tail with imbalance {imbalance:g}"
        raise DataError(
            f"A training size of {wanted} is more than the {total} training images{among}. "
            f"Type --train-size {total} or less."
        )
    drawn = uniforms(seed, "draw/images", len(labels))
    place = ranks(labels, drawn)
    kept = np.flatnonzero(place < sizes[labels])
    if wanted == total:
        return kept
    # Each class spreads its images evenly over a queue (Webster's divisors), with the first of each class at its head.
    # So every beginning of the queue is stratified, and beginnings are nested, which largest remainders wouldn't be.
    class_of, place = labels[kept], place[kept]
    queue = np.where(place == 0, 0.0, (place + 0.5) / sizes[class_of])
    chosen = np.lexsort((uniforms(seed, "draw/classes", classes)[class_of], queue))[:wanted]
    return np.sort(kept[chosen])


def long_tail(available: NDArray[np.int64], imbalance: float) -> NDArray[np.int64]:
    """Class sizes (K,) that fall exponentially with the class id: n_max * imbalance^(c / (K - 1)), rounded down.

    The profile of Cao et al. 2019 (LDAM, arXiv 1906.07413, section 4.1). n_max is the largest that the available images
    (K,) allow in every class. No class ends empty.

    Raises:
        DataError: imbalance outside (0, 1], or a class without images.
    """
    if not 0 < imbalance <= 1:
        raise DataError(
            f"An imbalance of {imbalance:g} is impossible: it is the smallest class size divided by the largest, "
            "above 0 and at most 1. Type --imbalance 0.1."
        )
    empty = np.flatnonzero(available == 0)
    if len(empty):
        raise DataError(
            f"A long tail needs images of every class, and {len(empty)} of {len(available)} have none "
            f"(the first: class {empty[0]}). Leave out --imbalance."
        )
    profile = imbalance ** (np.arange(len(available)) / max(1, len(available) - 1))
    largest = (available / profile).min()
    sizes: NDArray[np.int64] = np.floor(np.round(largest * profile, DECIMALS)).astype(np.int64)
    return np.minimum(np.maximum(sizes, 1), available)


def hold_out(labels: Labels, fraction: float, seed: int) -> tuple[Index, Index]:
    """Split 0..N-1 into training and held-out indices (both rising), stratified by the given, that is noisy, labels.

    Exactly `fraction` * N images (halves upwards) are held out; each class gives its share, rounded by largest
    remainder with ties in a random order of the classes. A fraction of 0 holds out nothing.

    Raises:
        DataError: the fraction lies outside [0, 1) or leaves nothing to train on.
    """
    if not (math.isfinite(fraction) and 0 <= fraction < 1):
        raise DataError(
            f"A hold-out of {fraction:g} is impossible: it is a share, 0 or more and below 1. Type --hold-out 0.1."
        )
    samples = len(labels)
    held = int(half_up(np.array([fraction * samples]))[0])
    if held and held == samples:
        raise DataError(
            f"A hold-out of {fraction:g} leaves nothing to train on of {samples} images. Type --hold-out 0.1."
        )
    sizes = np.bincount(labels) if samples else np.zeros(1, dtype=np.int64)
    quotas = held * sizes / max(1, samples)
    shares = largest_remainder(quotas[None], np.array([held]), uniforms(seed, "hold-out/classes", len(sizes))[None])[0]
    out = ranks(labels, uniforms(seed, "hold-out/images", samples)) < shares[labels]
    return np.flatnonzero(~out), np.flatnonzero(out)
