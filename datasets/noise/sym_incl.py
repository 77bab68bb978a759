"""Symmetric noise, true class included."""

from __future__ import annotations

from datasets.noise.interface import Matrix, Noise, NoiseFacts
from datasets.noise.matrices import symmetric_inclusive


class SymmetricInclusive(Noise):
    """A share of the labels, the rate, is redrawn over *all* classes, so only rate * (K - 1) / K of them are wrong.

    The convention of the sample-selection papers. Singular where the rate is 1.
    """

    name = "sym-incl"
    aliases = ("symmetric-inclusive",)
    summary = "labels redrawn at the rate over all classes, the true one included"
    source = "Li et al. 2020 (DivideMix, arXiv 2002.07394); Liu et al. 2020 (ELR, arXiv 2007.00151)"

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        return symmetric_inclusive(len(facts.classes), self.checked_rate(rate))

    def convention(self, facts: NoiseFacts) -> str:
        return "the true class included"
