"""Symmetric noise, true class excluded."""

from __future__ import annotations

from datasets.noise.interface import Matrix, Noise, NoiseFacts
from datasets.noise.matrices import symmetric


class Symmetric(Noise):
    """Every class is mislabelled at the rate, evenly over the *other* classes: nominal and realised rate agree.

    The convention of the robust-loss papers. Singular where the rate is (K - 1) / K.
    """

    name = "sym"
    aliases = ("symmetric",)
    summary = "each label wrong at the rate, evenly over the other classes"
    source = "Ma et al. 2020 (APL, arXiv 2006.13554); Zhou et al. 2021 (arXiv 2106.03110)"

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        return symmetric(len(facts.classes), self.checked_rate(rate))

    def convention(self, facts: NoiseFacts) -> str:
        return "the true class excluded"
