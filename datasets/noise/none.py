"""No noise."""

from __future__ import annotations

from datasets.noise.interface import Matrix, Noise, NoiseFacts
from datasets.noise.matrices import identity


class NoNoise(Noise):
    """The labels as they are, known to be clean: what every noise is compared with. Unknown noise is `as-given`."""

    name = "none"
    aliases = ("clean",)
    summary = "labels as they are, known to be clean"
    source = "by definition"
    takes_rate = False

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        self.checked_rate(rate)
        return identity(len(facts.classes))
