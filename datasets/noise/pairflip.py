"""Pair flips: each class to the next."""

from __future__ import annotations

from datasets.interface import DataError
from datasets.noise.interface import Flips, Matrix, Noise, NoiseFacts
from datasets.noise.matrices import flipped, rotation


class PairFlip(Noise):
    """Each class is mislabelled, at the rate, as the next class by id, the last as the first.

    Needs no documented pairs. Singular at 1/2 where the number of classes is even.
    """

    name = "pairflip"
    aliases = ("pair-flip", "pair")
    summary = "each class flipped at the rate to the next class by id"
    source = "Han et al. 2018 (Co-teaching, arXiv 1804.06872)"

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        return flipped(len(facts.classes), self.pairs(facts), self.checked_rate(rate))

    def pairs(self, facts: NoiseFacts) -> Flips:
        if len(facts.classes) < 2:
            raise DataError(f"Labels of {len(facts.classes)} class can't be wrong. Type --noise none.")
        return rotation([0] * len(facts.classes))

    def convention(self, facts: NoiseFacts) -> str:
        return "to the next class"
