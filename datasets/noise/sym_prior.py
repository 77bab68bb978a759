"""Symmetric noise that goes to other classes as often as these are large."""

from __future__ import annotations

import numpy as np

from datasets.interface import Labels
from datasets.noise.interface import Matrix, Noise, NoiseFacts
from datasets.noise.matrices import symmetric


class SymmetricPrior(Noise):
    """Every class is mislabelled at the rate, as another class j in proportion to the number n_j of its images.

    T_ij = rate * n_j / (N - n_i) for j != i. For long tails: where `sym` gives small classes more wrong labels than
    right ones, this one keeps them small. Wrong labels go to small classes from large ones all the same, so the noisy
    counts are less skewed than the clean ones; the caption says both. Where all classes are equally large it is `sym`.
    The counts are those of the draw, after `--train-size` and `--imbalance`.
    """

    name = "sym-prior"
    aliases = ("symmetric-prior",)
    summary = "each label wrong at the rate, over the other classes in proportion to their sizes"
    source = "Wei et al. 2021 (RoLT, arXiv 2108.11569)"
    has_uneven_rows = True

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        classes, rate = len(facts.classes), self.checked_rate(rate)
        even = symmetric(classes, rate)
        if facts.counts is None or len(set(facts.counts)) == 1:
            return even
        sizes = np.array(facts.counts, dtype=np.float64)
        others = sizes.sum() - sizes
        matrix = rate * sizes[None, :] / np.where(others > 0, others, 1.0)[:, None]
        np.fill_diagonal(matrix, 1 - rate)
        return np.where((others > 0)[:, None], matrix, even)

    def convention(self, facts: NoiseFacts) -> str:
        return "to other classes in proportion to their sizes"

    def remark(self, clean: Labels, noisy: Labels, facts: NoiseFacts) -> str:
        before, after = (np.bincount(labels, minlength=len(facts.classes)) for labels in (clean, noisy))
        there = before > 0
        if not there.any() or not after[there].min():
            return ""
        ratios = [f"{counts[there].max() / counts[there].min():.3g}" for counts in (before, after)]
        return f"largest class {ratios[0]} times the smallest by clean labels and {ratios[1]} times by noisy ones"
