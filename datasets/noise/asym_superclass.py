"""Asymmetric noise inside true superclasses."""

from __future__ import annotations

from datasets.interface import DataError
from datasets.noise.interface import Flips, Matrix, Noise, NoiseFacts
from datasets.noise.matrices import flipped, rotation


class AsymmetricSuperclass(Noise):
    """Each class is mislabelled, at the rate, as the next class (by id) of its superclass, the last as the first.

    What the CIFAR-100 papers describe; what most of their code does is `asym`. A class alone in its superclass stays
    right.
    """

    name = "asym-superclass"
    aliases = ("asymmetric-superclass",)
    summary = "each class flipped at the rate to the next one of its superclass"
    source = "Englesson and Azizpour 2021 (GJS, arXiv 2105.04522), the only code read that rotates in superclasses"

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        return flipped(len(facts.classes), self.pairs(facts), self.checked_rate(rate))

    def pairs(self, facts: NoiseFacts) -> Flips:
        pairs = rotation(facts.superclasses) if facts.superclasses is not None else ()
        if not pairs:
            raise DataError(
                f"Noise 'asym-superclass' flips classes inside superclasses, and {facts.data_set} has none. "
                "Type --noise asym or --noise pairflip, or bring your own by --noise matrix:FILE."
            )
        return pairs

    def convention(self, facts: NoiseFacts) -> str:
        return "rotated inside superclasses"
