"""Draws noisy labels from a transition matrix: a function of (clean labels, matrix, seed), nested in the rate.

A noise without a matrix gives its labels itself, see `Noise.assign`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise.apportionment import count_wrong
from datasets.noise.captions import caption, name_with_rate
from datasets.noise.interface import DrawnImages, ImageSource, Matrix, Noise, NoiseFacts, NoisyLabels, label_hash
from datasets.randomness import uniforms
from datasets.rounding import DECIMALS, largest_remainder, ranks

DRAWS = ("exact", "multinomial")


def corrupt(
    noise: Noise,
    clean: Labels,
    facts: NoiseFacts,
    rate: float | None,
    seed: int,
    draw: str = "exact",
    columns: Mapping[str, Labels] | None = None,
    source: ImageSource | None = None,
) -> NoisyLabels:
    """Noisy labels: the same for every method, every machine and every order of calls.

    Args:
        clean: the clean labels (N,) of the whole draw, before any hold-out; for noise that isn't known, the given ones.
        rate: share from 0 to 1; None for a noise without one.
        draw: "exact" (see `draw_exact`) or "multinomial" (see `draw_independent`).
        columns: further labels (N,) of the same images, for `column:NAME`.
        source: where these images come from, for a noise that looks at each; None: nothing but labels is known.

    Raises:
        DataError: a rate, a data set or labels that this noise can't do.
    """
    if draw not in DRAWS:
        raise DataError(f"There is no draw {draw!r}. Type --draw exact or --draw multinomial.")
    classes = len(facts.classes)
    checked_labels(clean, classes, "The clean labels")
    rate = noise.checked_rate(rate) if noise.takes_rate or rate is not None else None
    facts = replace(facts, counts=tuple(np.bincount(clean, minlength=classes).tolist()))
    if source is not None and source.pixels is not None:
        facts = replace(facts, image_shape=source.pixels.shape[1:])
    matrix = noise.matrix(facts, rate)
    if not noise.is_known:
        return unknown(clean, noise.origin(facts), noise.convention(facts))
    if matrix is None:
        images = DrawnImages(clean, facts, rate, seed, columns or {}, draw, source)
        labels, outside = noise.assign(images), noise.outsiders(images)
        if labels is None:
            raise DataError(f"Noise {noise.name!r} has neither a matrix nor labels.")
        truth = clean if outside is None else np.where(outside, -1, clean)
        result = given(labels, truth, classes, noise.origin(facts), name_with_rate(noise, facts, rate))
        result = replace(result, clean=None if outside is None else truth)
        return remarked(result, noise.remark(truth, labels, facts))
    exact = draw_in_proportion if noise.has_uneven_rows else draw_exact
    labels = (exact if draw == "exact" else draw_independent)(clean, matrix, seed)
    share = realised_rate(labels, clean)
    result = NoisyLabels(
        labels=labels,
        matrix=matrix,
        pairs=noise.pairs(facts),
        source=noise.origin(facts),
        realised_rate=share,
        sha256=label_hash(labels),
        caption=caption(noise, facts, matrix, rate, share),
    )
    return remarked(result, noise.remark(clean, labels, facts))


def remarked(labels: NoisyLabels, remark: str) -> NoisyLabels:
    """The same labels with a remark in their caption, if it says anything."""
    return replace(labels, caption=f"{labels.caption}, {remark}") if remark else labels


def given(labels: Labels, clean: Labels, classes: int, source: str, name: str) -> NoisyLabels:
    """Labels that somebody brings, checked: one for each image, all of them classes. Raises DataError."""
    if labels.shape != clean.shape:
        raise DataError(f"{source}: {labels.size} labels for {clean.size} training images. It needs one for each.")
    checked_labels(labels, classes, source)
    return _without_matrix(labels, source, name, realised_rate(labels, clean))


def unknown(labels: Labels, source: str, name: str) -> NoisyLabels:
    """Labels (N,) as they stand, with nothing known of those that are wrong."""
    return _without_matrix(labels, source, name, None)


def _without_matrix(labels: Labels, source: str, name: str, share: float | None) -> NoisyLabels:
    """Labels (N,) that nobody drew; `share` is that of the wrong ones, where it is known."""
    return NoisyLabels(
        labels=labels.astype(np.int64),
        matrix=None,
        pairs=(),
        source=source,
        realised_rate=share,
        sha256=label_hash(labels),
        caption=caption(name, realised=share),
    )


def draw_exact(clean: Labels, matrix: Matrix, seed: int) -> Labels:
    """Exactly as many labels of each kind as the matrix says, up to rounding.

    Of the n_c images of class c, n_c * (1 - T_cc) get a wrong label, rounded by `count_wrong`: to the nearest whole
    number, halves up, or where classes are small so that all classes together have the nominal number. These are split
    over the other classes by largest remainder, ties in a random order of the row. So every count is its quota n_c *
    T_cj rounded down or up, rows are exact, and the number of wrong labels never falls as the rate rises. (Largest
    remainders over the whole row at once would let it fall now and then.)

    Which images are wrong: the first of their class by a random number that depends on nothing but seed and position.
    So the wrong ones at a lower rate are a subset. They are given the other classes in turn, in the row's random order:
    where the matrix spreads evenly over some classes (symmetric noise, pairs) an image also keeps its wrong label as
    the rate rises. Other matrices have no rate, so nothing is lost there.
    """
    classes = len(matrix)
    turn = uniforms(seed, "noise/classes", classes * classes).reshape(classes, classes)
    sizes = np.bincount(clean, minlength=classes)
    wrong, flipped = choose_wrong(clean, 1 - np.diag(matrix), seed)
    quotas = sizes[:, None] * matrix
    np.fill_diagonal(quotas, 0.0)
    counts = largest_remainder(quotas, wrong, turn)
    row, target = (np.repeat(ids, counts.ravel()) for ids in np.indices(counts.shape).reshape(2, -1))
    # one of each class in turn: the first of every class come before the second ones
    nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts.ravel(), counts.ravel())
    labels = clean.astype(np.int64)
    labels[flipped] = target[np.lexsort((turn[row, target], nth, row))]
    return labels


def draw_in_proportion(clean: Labels, matrix: Matrix, seed: int) -> Labels:
    """As `draw_exact` for rows that spread unevenly, in the same proportions at every rate.

    Each row has one queue of wrong labels, in which each class is spread evenly (Webster's divisors: the k-th of share
    p stands at (k - 1/2) / p), and the wrong images of the class get the first ones. So labels don't change as the rate
    rises, and each class has its share of every beginning, up to a label or so.
    """
    classes = len(matrix)
    turn = uniforms(seed, "noise/classes", classes * classes).reshape(classes, classes)
    wrong, flipped = choose_wrong(clean, 1 - np.diag(matrix), seed)
    others = matrix.copy()
    np.fill_diagonal(others, 0.0)
    sums = others.sum(axis=1, keepdims=True)
    shares = np.round(others / np.where(sums > 0, sums, 1.0), 12)
    counts = np.ceil(np.round(wrong[:, None] * shares, DECIMALS)).astype(np.int64) + (shares > 0)
    row, target = (np.repeat(ids, counts.ravel()) for ids in np.indices(counts.shape).reshape(2, -1))
    nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts.ravel(), counts.ravel())
    ordered = np.lexsort((turn[row, target], np.round((nth + 0.5) / shares[row, target], 6), row))
    lengths = counts.sum(axis=1)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    labels = clean.astype(np.int64)
    labels[flipped] = target[ordered][place < wrong[row[ordered]]]
    return labels


def choose_wrong(clean: Labels, shares: NDArray[np.float64], seed: int) -> tuple[Labels, NDArray[np.int64]]:
    """The number of wrong labels of each class (K,), and the positions of the images that get them, class by class.

    `shares` (K,) are each class's. An exact draw of any noise asks here, so that at one rate and seed the same images
    are wrong whatever the noise, and only what they are called differs.
    """
    classes = len(shares)
    sizes = np.bincount(clean, minlength=classes)
    wrong = count_wrong(sizes, shares, uniforms(seed, "noise/rounding", classes))
    drawn = uniforms(seed, "noise/images", len(clean))
    flipped = np.flatnonzero(ranks(clean, drawn) < wrong[clean])
    return wrong, flipped[np.lexsort((drawn[flipped], clean[flipped]))]


def realised_matrix(labels: Labels, clean: Labels, classes: int) -> Matrix:
    """The share (K, K) of each clean class's images that has each label; a class without images has a row of zeros."""
    counts = np.bincount(clean * classes + labels, minlength=classes * classes).reshape(classes, classes)
    return np.asarray(counts / np.maximum(1, counts.sum(axis=1, keepdims=True)))


def draw_independent(clean: Labels, matrix: Matrix, seed: int) -> Labels:
    """Each label drawn on its own: wrong where a first random number lies below 1 - T_cc, which one by a second.

    Both numbers depend on nothing but seed and position, so here too wrong labels are nested in the rate, and stay what
    they are where the rate only scales what lies off the diagonal.
    """
    classes = len(matrix)
    wrong = uniforms(seed, "noise/images", len(clean)) < 1 - np.diag(matrix)[clean]
    others = matrix.copy()
    np.fill_diagonal(others, 0.0)
    cumulated = np.cumsum(others, axis=1)
    labels = clean.astype(np.int64)
    second = uniforms(seed, "noise/targets", len(clean))
    places = np.flatnonzero(wrong)
    places = places[np.argsort(clean[places], kind="stable")]
    ends = np.cumsum(np.bincount(clean[places], minlength=classes))
    for each, chosen in enumerate(np.split(places, ends[:-1])):
        total = cumulated[each, -1]
        if len(chosen) and total > 0:
            # never beyond the last class that has a probability, whatever rounding does
            last = np.flatnonzero(others[each])[-1]
            target = np.searchsorted(cumulated[each] / total, second[chosen], side="right")
            labels[chosen] = np.minimum(target, last)
    return labels


def realised_rate(labels: Labels, clean: Labels) -> float:
    """The share of labels that differ from the clean ones; 0 where there are none."""
    return float(np.mean(labels != clean)) if len(clean) else 0.0


def checked_labels(labels: Labels, classes: int, what: str) -> None:
    """Raise DataError unless `labels` are integers (N,) from 0 to classes - 1; names at most ten that aren't."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{what}: not a list of class ids, but {labels.ndim} axes of {labels.dtype} values.")
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        lines = [f"  position {place}: {labels[place]}" for place in outside[:10]]
        if len(outside) > 10:
            lines.append(f"  ... and {len(outside) - 10} more")
        raise DataError(f"{what}: class ids go from 0 to {classes - 1}. These don't:\n" + "\n".join(lines))
