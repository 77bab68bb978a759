"""Asymmetric noise: the data set's documented class pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from datasets.interface import DataError
from datasets.noise.interface import Flips, Matrix, Noise, NoiseFacts
from datasets.noise.matrices import flipped, rotation

CONFUSABLE = "confusable"
MOST_PAIRS = 12
"""Pairs that a caption lists."""


class Asymmetric(Noise):
    """Classes with a documented confusion are mislabelled as that class at the rate; all others stay right.

    So the overall rate is lower than the nominal one where only some classes have a pair. Two classes that flip into
    each other make it singular at 1/2.

    `asym:confusable` needs no documented pairs: every class is mislabelled as the one that a quick model, cross-fitted
    on the clean labels, most often takes it for. The pairs' hash is part of a run's identity.
    """

    name = "asym"
    aliases = ("asymmetric",)
    summary = "class pairs flipped at the rate: the data set's documented ones, or those that a quick model confuses"
    source = "Patrini et al. 2017 (arXiv 1609.03683); the pairs' source stands with the data set"

    argument = "WORD"
    argument_optional = True

    def __init__(self, argument: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(argument, parameters)
        if argument not in (None, CONFUSABLE):
            raise DataError(
                f"Noise 'asym' has no pairs {argument!r}. Type --noise asym, or asym:{CONFUSABLE} for the pairs that a "
                "quick model confuses; a rate is typed as --rate 0.4."
            )
        self.reads_confusions = argument == CONFUSABLE

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        return flipped(len(facts.classes), self.pairs(facts), self.checked_rate(rate))

    def pairs(self, facts: NoiseFacts) -> Flips:
        if self.reads_confusions:
            if facts.confusable is None:
                raise DataError(f"Noise 'asym:{CONFUSABLE}' needs the images and labels of {facts.data_set}.")
            if not facts.confusable.flips:
                raise DataError(f"Noise 'asym:{CONFUSABLE}' finds no classes with images in {facts.data_set}.")
            return facts.confusable.flips
        if facts.pairs is None or not facts.pairs.flips:
            raise DataError(
                f"Noise 'asym' flips documented class pairs, and none are documented for {facts.data_set}. "
                f"Type --noise asym:{CONFUSABLE} or --noise pairflip, or bring your own by --noise matrix:FILE."
            )
        return facts.pairs.flips

    def source_hash(self, facts: NoiseFacts) -> str | None:
        if not self.reads_confusions:
            return super().source_hash(facts)
        return hashlib.sha256(repr(self.pairs(facts)).encode()).hexdigest()

    def origin(self, facts: NoiseFacts) -> str:
        if self.reads_confusions:
            return facts.confusable.source if facts.confusable is not None else "a quick model's confusions"
        return facts.pairs.source if facts.pairs is not None else self.source

    def convention(self, facts: NoiseFacts) -> str:
        if self.reads_confusions:
            pairs = [f"{facts.classes[clean]} -> {facts.classes[noisy]}" for clean, noisy in self.pairs(facts)]
            more = f" and {len(pairs) - MOST_PAIRS} more" if len(pairs) > MOST_PAIRS else ""
            return f"to the class that a quick model takes it for: {', '.join(pairs[:MOST_PAIRS])}{more}"
        blocks = [each // 5 for each in range(len(facts.classes))]
        if len(facts.classes) > 5 and set(self.pairs(facts)) == set(rotation(blocks)):
            return "rotated inside blocks of five consecutive class ids"
        return ""
