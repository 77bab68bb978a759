"""Asymmetric noise: the data set's documented class pairs."""

from __future__ import annotations

from datasets.interface import DataError
from datasets.noise.interface import Flips, Matrix, Noise, NoiseFacts
from datasets.noise.matrices import flipped, rotation


class Asymmetric(Noise):
    """Classes with a documented confusion are mislabelled as that class at the rate; all others stay right.

    So the overall rate is lower than the nominal one where only some classes have a pair. Two classes that flip into
    each other make it singular at 1/2.
    """

    name = "asym"
    aliases = ("asymmetric",)
    summary = "the data set's documented class pairs, flipped at the rate"
    source = "Patrini et al. 2017 (arXiv 1609.03683); the pairs' source stands with the data set"

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        return flipped(len(facts.classes), self.pairs(facts), self.checked_rate(rate))

    def pairs(self, facts: NoiseFacts) -> Flips:
        if facts.pairs is None or not facts.pairs.flips:
            raise DataError(
                f"Noise 'asym' flips documented class pairs, and none are documented for {facts.data_set}. "
                "Type --noise pairflip, or bring your own by --noise matrix:FILE."
            )
        return facts.pairs.flips

    def origin(self, facts: NoiseFacts) -> str:
        return facts.pairs.source if facts.pairs is not None else self.source

    def convention(self, facts: NoiseFacts) -> str:
        blocks = [each // 5 for each in range(len(facts.classes))]
        if len(facts.classes) > 5 and set(self.pairs(facts)) == set(rotation(blocks)):
            return "rotated inside blocks of five consecutive class ids"
        return ""
